"""A callback that writes the figures of a training for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_ce.train.callbacks import Callback

if TYPE_CHECKING:
    from tinygrad_ce.train.loop import Loop


class TensorBoard(Callback):
    """Writes the figures of each epoch to a folder that TensorBoard shows: `tensorboard --logdir runs`.

    They are called loss/train, loss/validation, accuracy/train, accuracy/validation and lr. A later fit of the same
    trainer goes on where the last one ended.
    folder: one for each run, made if it is not there.
    histograms: also the distribution of each parameter (parameters/0.W), and of its gradient in the last batch of the
    epoch (gradients/0.W), but this only step by step: compiled epochs leave no gradients behind (`compile=False`).
    Raises ImportError where tensorboardX is not installed, OSError for a folder that cannot be made.

    >>> data = tg.data.moons(60, seed=0); tg.seed(0); model = Dense(2, 2)
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.5))
    >>> from tempfile import mkdtemp
    >>> history = trainer.fit(data, epochs=2, callbacks=tg.train.TensorBoard(mkdtemp()))
    """

    def __init__(self, folder: str | Path, histograms: bool = False) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError('tensorboardX cannot be imported: pip install "tinygrad_ce[tensorboard]"') from error
        self.folder, self.histograms = Path(folder), histograms
        self._open = SummaryWriter
        self._writer: Any = None

    def before_fit(self, loop: Loop) -> None:
        """Open a file of events in the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.iterdir()))  # a file is named by the second, and two fits may begin in one
        self._writer = self._open(str(self.folder), filename_suffix=f".{number}")

    def after_epoch(self, loop: Loop) -> None:
        """Write the figures, and the distributions if they are asked for."""
        epoch = len(loop.trainer.history) + loop.epoch  # the history of earlier fits; this one is added at its end
        for name, value in loop.figures.items():
            if name != "epoch":
                self._writer.add_scalar(_tag(name, loop.figures), value, epoch)
        if not self.histograms:
            return
        for name, parameter in loop.model.named_parameters():
            self._writer.add_histogram(f"parameters/{name}", parameter.data, epoch)
            if parameter.grad is not None:
                self._writer.add_histogram(f"gradients/{name}", parameter.grad, epoch)

    def after_fit(self, loop: Loop) -> None:
        """Write all that is waiting, and close the file, also after an error."""
        self._writer.close()


def _tag(name: str, figures: dict[str, float]) -> str:
    """What TensorBoard calls a figure: it draws loss/train and loss/validation beside each other."""
    if name.startswith("val_"):
        return f"{name.removeprefix('val_')}/validation"
    return f"{name}/train" if name in ("loss", "accuracy") or f"val_{name}" in figures else name
