"""How volumes are encrypted, and what opens them."""

from __future__ import annotations

from dataclasses import dataclass, field

from icebrick.secret import Secret


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a volume is encrypted, in Cinder's words. None of it is secret."""

    provider: str
    """The format, as `luks` or `luks2`."""
    key_id: str
    """Of the secret in the key manager. A clone has one of its own, with the same secret behind it."""
    cipher: str | None = None
    key_size: int | None = None
    """In bits."""
    control_location: str = "front-end"

    @property
    def is_by_storage(self) -> bool:
        """Whether hosts that attach the volume see it decrypted."""
        return self.control_location.lower() != "front-end"

    @property
    def is_luks(self) -> bool:
        """Whether the host that attaches the volume finds LUKS on it; older clouds name the class that opens it."""
        return not self.is_by_storage and (
            self.provider in ("luks", "luks2") or self.provider.endswith("LuksEncryptor")
        )


@dataclass(frozen=True, slots=True)
class VolumeKey:
    """What opens an encrypted volume. The passphrase is what Cinder and Nova make of the secret in the key manager."""

    encryption: Encryption
    passphrase: Secret = field(repr=False)
