"""A page to try it: record or upload speech, choose a style, get video, a 3-D view and downloads.

python -m web.app                      # http://127.0.0.1:7860, this machine only
python -m web.app --host 0.0.0.0       # everyone who can reach this machine: there is no login
"""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path

from utils.config import UserParser
from utils.errors import UserError, cli
from utils.run_dir import DEFAULT_EXPERIMENT
from utils.trackers.landmarker import is_installed
from utils.video_frames import VIDEO_SUFFIXES
from web.service import FEW_STEPS, MAX_GUIDANCE, MAX_SECONDS, MAX_SEED, MAX_STEPS, MAX_VIDEO_SECONDS, Studio, Wish

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
KEEP_SECONDS, SWEEP_SECONDS = 3600, 300
WAITING, UPLOAD = 20, "30mb"  # visitors in the queue; size of an upload
EMPTY = '<div style="height:520px;display:grid;place-items:center;color:#777">the head appears here</div>'
INTRO = """# DiffPoseTalk
Speech in, a talking 3-D head out. Record or upload up to {} s, choose how it is spoken, press the button."""


def viewer(token: str) -> str:
    """The 3-D view of one take; the token is hexadecimal."""
    return (
        f'<iframe src="/viewer/viewer.html#{token}" title="3-D view" style="width:100%;height:520px;border:0"></iframe>'
    )


def make_page(studio: Studio):
    """The Gradio page."""
    import gradio as gr

    def make(audio, style, motion, identity, look, audio_scale, style_scale, steps, seed):
        wish = Wish(
            None if audio is None else Path(audio), style, None if motion is None else Path(motion), identity,
            audio_scale, style_scale, steps, seed, look,
        )  # fmt: skip
        try:
            take = studio.make(wish)
        except UserError as error:
            raise gr.Error(str(error), duration=None) from error
        said = f"{take.seconds:.1f} s of speech in {take.took:.1f} s"
        return viewer(take.token), str(take.video), [str(path) for path in take.downloads()], said

    with gr.Blocks(title="DiffPoseTalk", delete_cache=(SWEEP_SECONDS, KEEP_SECONDS), analytics_enabled=False) as page:
        gr.Markdown(INTRO.format(MAX_SECONDS))
        with gr.Row():
            with gr.Column(scale=2):
                inputs = _inputs(gr, studio)
                button = gr.Button("Make it talk", variant="primary", elem_id="make")
                said = gr.Markdown(elem_id="said")
                files = gr.Files(label="Downloads", elem_id="downloads", interactive=False)
            with gr.Column(scale=3):
                with gr.Tab("3-D view"):
                    view = gr.HTML(EMPTY, elem_id="view")
                with gr.Tab("Video"):
                    video = gr.Video(label="Video", elem_id="video", interactive=False)
        button.click(make, inputs, [view, video, files, said], concurrency_limit=1, api_name=False)
    page.queue(max_size=WAITING)
    return page


def _inputs(gr, studio: Studio) -> list:
    """The page's controls, in the order of `make`'s arguments."""
    styles = studio.style_names()
    audio = gr.Audio(sources=["microphone", "upload"], type="filepath", label="Speech", elem_id="speech")
    style = gr.Dropdown(styles, value="normal" if "normal" in styles else styles[0], label="Style", elem_id="style")
    with gr.Accordion("Your own style, look and sampling", open=False):
        own = f"motion npz, or video of a face ({MAX_VIDEO_SECONDS} s at most)" if is_installed() else "motion npz"
        kinds = [".npz", *(VIDEO_SUFFIXES if is_installed() else ())]
        motion = gr.File(label=f"Style of your own: {own}, 4 s or more", file_types=kinds, type="filepath")
        identity = gr.Dropdown(studio.identity_names(), value="average", label="Head")
        look = gr.Radio(["skin", "clay"], value="skin", label="Look")
        audio_scale = gr.Slider(0, MAX_GUIDANCE, 1.5, step=0.05, label="Audio guidance")
        style_scale = gr.Slider(0, MAX_GUIDANCE, 1.5, step=0.05, label="Style guidance")
        steps = gr.Slider(1, MAX_STEPS, FEW_STEPS, step=1, label="Steps")
        seed = gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed")
    return [audio, style, motion, identity, look, audio_scale, style_scale, steps, seed]


def make_app(studio: Studio):
    """The web application: the page at /, the viewer's files, and the results it may read."""
    import gradio as gr
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse
    from fastapi.staticfiles import StaticFiles

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/take/{token}/{name}")
    def take(token: str, name: str) -> FileResponse:
        found = studio.served(token, name)
        if found is None:
            raise HTTPException(404)
        return FileResponse(found[0], media_type=found[1])

    app.mount("/viewer", StaticFiles(directory=STATIC), name="viewer")
    return gr.mount_gradio_app(app, make_page(studio), path="/", max_file_size=UPLOAD, show_error=True)


def sweeping(studio: Studio, stop: threading.Event) -> None:
    """Remove old results until `stop`."""
    while not stop.wait(SWEEP_SECONDS):
        studio.sweep(KEEP_SECONDS)


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exp_name", default=DEFAULT_EXPERIMENT, help="experiment in experiments/DPT, or a prefix")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="(default: 7860)")
    parser.add_argument("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    args = parser.parse_args(argv)
    try:
        import gradio  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError("the page needs Gradio: pip install gradio==6.31.0, or `make web`") from error
    with tempfile.TemporaryDirectory(prefix="diffposetalk-") as folder:
        studio, stop = Studio.open(args.exp_name, Path(folder), args.device), threading.Event()
        threading.Thread(target=sweeping, args=(studio, stop), daemon=True).start()
        print(f"open http://{args.host}:{args.port}")
        try:
            uvicorn.run(make_app(studio), host=args.host, port=args.port, log_level="warning")
        finally:
            stop.set()


if __name__ == "__main__":
    main()
