"""`sercli explain`: why a recording was given its emotion."""

from pathlib import Path
from typing import Annotated

import typer

from sercli.cli import console, options
from sercli.config import AUTO
from sercli.prediction.settings import EXPLANATION_SUFFIXES


def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recording to explain.", show_default=False)],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help=f"Picture, page or data: {', '.join(EXPLANATION_SUFFIXES)}.",
            show_default="JSON on stdout",
        ),
    ] = None,
    channel: Annotated[
        str, typer.Option("--channel", help="Number of a channel, from 1; mix and auto explain the mean of all.")
    ] = AUTO,
    model: options.ModelDir = None,
) -> None:
    """Explain a prediction: attention over time, and attribution over time and frequency.

    The picture shows waveform, log-mel spectrogram, attribution and attention of the segments in which the emotion is
    most probable. Attribution is the drop in log-odds of the emotion when a region of time and frequency is replaced by
    the mean of the training data.

    Example: `sercli explain call.wav --out call.png`
    """
    import json

    from sercli.prediction.explain import check_explanation_path, write_explanation
    from sercli.prediction.explain import explain as explain_recording

    if out:
        check_explanation_path(out)
    explanation = explain_recording(file, model, channel=channel)
    if explanation.separate:
        console.say(
            f"explained the mix of the channels; 'sercli predict' scores them separately: explain one with --channel "
            f"{' or '.join(explanation.separate)}"
        )
    if out:
        write_explanation(out, explanation)
        console.say(f"{explanation.emotion}, {explanation.probabilities[explanation.emotion]:.0%}: saved {out}")
    else:
        typer.echo(json.dumps(explanation.to_dict(), ensure_ascii=False, allow_nan=False))
