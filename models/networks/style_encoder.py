"""The style encoder: 4 s of motion -> one style vector (paper section 3.2)."""

from dataclasses import dataclass

from torch import Tensor, nn

from models.networks.positional import POSITIONAL_ENCODINGS, SinusoidalEncoding
from utils.coefs import CoefLayout
from utils.config import flag


@dataclass(frozen=True)
class StyleEncoderConfig:
    """Sizes of the style encoder; field names are the command-line flags of `main_se.py`."""

    no_head_pose: bool = False
    """Leave the global head rotation out of the motion (51 instead of 54 components)."""
    feature_dim: int = 128
    """Width of the transformer, and of the style vector."""
    n_heads: int = 4
    """Attention heads."""
    n_layers: int = 4
    """Transformer encoder layers."""
    mlp_ratio: int = 4
    """Feed-forward width as a multiple of feature_dim."""
    n_motions: int = 100
    """Frames per style clip."""
    fps: int = 25
    """Motion frames per second."""
    positional_encoding: str = flag("per_frame", choices=POSITIONAL_ENCODINGS)
    """per_frame: row i added to frame i; sequence_length_row: the published weights' single row for all frames."""

    @property
    def layout(self) -> CoefLayout:
        return CoefLayout(head_pose=not self.no_head_pose)


class StyleEncoder(nn.Module):
    """Transformer encoder over motion frames, averaged over time."""

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.feature_dim
        self.motion_proj = nn.Linear(config.layout.motion_dim, dim)
        self.positions = SinusoidalEncoding(dim, config.positional_encoding)
        layer = nn.TransformerEncoderLayer(
            dim, config.n_heads, dim * config.mlp_ratio, activation="gelu", batch_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, config.n_layers, enable_nested_tensor=False)

    def forward(self, motion: Tensor) -> Tensor:
        """Normalised motion (B, L, D) -> style (B, feature_dim)."""
        return self.transformer(self.positions(self.motion_proj(motion))).mean(dim=1)
