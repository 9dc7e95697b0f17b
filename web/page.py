"""The web demo's page and its routes."""

from __future__ import annotations

import logging
import threading
from dataclasses import fields
from pathlib import Path

from models.app.bundled import DEFAULT_AUDIO, input_folder
from models.mixing.recipes import EMOTIONS
from utils.errors import UserError
from utils.rendering.looks import HAIR, SKINS
from utils.trackers.landmarker import is_installed
from web.scene import scene
from web.service import (
    FEW_STEPS,
    MAX_BUILD,
    MAX_GUIDANCE,
    MAX_SECONDS,
    MAX_SEED,
    MAX_STEPS,
    MAX_VIDEO_SECONDS,
    NO_EMOTION,
    Studio,
    Wish,
    style_files,
)
from web.wardrobe import OF_THE_HEAD

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
KEEP_SECONDS, SWEEP_SECONDS = 3600, 300
WAITING, UPLOAD = 20, "30mb"  # visitors in the queue; size of an upload
EXAMPLES = {
    "English, 3 s": "sphinx_cards_005.flac",
    "English, 5 s": DEFAULT_AUDIO,
    "French, 8 s": "asterisk_fr_queue.flac",
}
EMPTY = '<div class="empty">the head appears here</div>'
FILES = """take.glb is for Blender and the browser, take.usda for USD tools, take_livelink.csv for Unreal and ARKit
avatars, take_coef.npz to make a style of."""
OWN_STYLE = """A motion of 4 s or more: a csv or json of ARKit's blendshapes (Live Link Face, MediaPipe), or an npz of
ours{}. Its style replaces the one above."""
OR_VIDEO = f", or a video of a face ({MAX_VIDEO_SECONDS} s at most)"
CSS = """
.empty, #view iframe { width: 100%; height: min(520px, 70vh, 110vw); border: 0; display: block }
.empty { display: grid; place-items: center; color: #777; background: #eef0f2; border-radius: 8px }
#video video { max-height: 70vh }
"""
INTRO = """# DiffPoseTalk
Speech in, a talking 3-D head out. Record or upload up to {} s, choose how it is spoken, press the button."""


def viewer(token: str) -> str:
    """The 3-D view of one take; the token is hexadecimal."""
    return f'<iframe src="/viewer/viewer.html#{token}" title="3-D view"></iframe>'


def wish_of(values: dict) -> Wish:
    """The page's values by the names of `Wish`'s fields."""
    files = {name: None if values[name] is None else Path(values[name]) for name in ("audio", "motion")}
    return Wish(**{**values, **files})


def make_page(studio: Studio):
    """The Gradio page."""
    import gradio as gr

    with gr.Blocks(title="DiffPoseTalk", delete_cache=(SWEEP_SECONDS, KEEP_SECONDS), analytics_enabled=False) as page:
        gr.Markdown(INTRO.format(MAX_SECONDS))
        with gr.Row():
            with gr.Column(scale=2):
                controls = _speech(gr) | _person(gr, studio) | _sampling(gr)
                button = gr.Button("Make it talk", variant="primary", elem_id="make")
            with gr.Column(scale=3):
                with gr.Tab("3-D view"):
                    view = gr.HTML(EMPTY, elem_id="view", padding=False)
                with gr.Tab("Video"):
                    video = gr.Video(label="Video", elem_id="video", interactive=False)
                said = gr.Markdown(elem_id="said")
                files = gr.Files(label="Downloads", elem_id="downloads", interactive=False, visible=False)

        def make(given, progress=gr.Progress()):  # noqa: B008 (how Gradio is told to show it)
            try:
                take = studio.make(wish_of({name: given[control] for name, control in controls.items()}), progress)
            except UserError as error:
                raise gr.Error(str(error), duration=None, print_exception=False) from error
            downloads = gr.Files([str(path) for path in take.downloads()], visible=True)
            note = f"{take.seconds:.1f} s of speech in {take.took:.1f} s. {FILES}"
            return viewer(take.token), str(take.video), downloads, note

        assert set(controls) == {field.name for field in fields(Wish)}
        outputs = [view, video, files, said]
        button.click(
            make, set(controls.values()), outputs, concurrency_limit=1, api_name=False, show_progress_on=[view, video]
        )
    page.queue(max_size=WAITING)
    return page


def _speech(gr) -> dict:
    """The inputs for the speech."""
    audio = gr.Audio(sources=["microphone", "upload"], type="filepath", label="Speech", elem_id="speech", buttons=[])
    files = [[str(input_folder("audio") / name)] for name in EXAMPLES.values()]
    gr.Examples(files, audio, label="Or try one of these", elem_id="examples", example_labels=list(EXAMPLES))
    return {"audio": audio}


def _person(gr, studio: Studio) -> dict:
    """The inputs for the style and the head."""
    styles, usual = studio.style_names(), studio.usual_style
    found = {"style": gr.Dropdown(styles, value=usual if usual in styles else styles[0], label="Style",
                                  elem_id="style")}  # fmt: skip
    with gr.Row():
        found["emotion"] = gr.Dropdown([NO_EMOTION, *EMOTIONS], value=NO_EMOTION, label="Emotion", elem_id="emotion")
        found["intensity"] = gr.Slider(0, 1, Wish(None).intensity, step=0.05, label="Intensity")
    with gr.Accordion("A style of your own", open=False):
        gr.Markdown(OWN_STYLE.format(OR_VIDEO if is_installed() else ""))
        found["motion"] = gr.File(label="Motion", file_types=list(style_files()), type="filepath", elem_id="motion",
                                  height=140)  # fmt: skip
    with gr.Accordion("Head and look", open=False):
        found["identity"] = gr.Dropdown(studio.identity_names(), value=Wish(None).identity, label="Head")
        found["look"] = gr.Radio(["skin", "clay"], value="skin", label="Look")
        found["hair"] = gr.Radio([OF_THE_HEAD, *HAIR], value=OF_THE_HEAD, label="Hair")
        found["skin"] = gr.Radio([OF_THE_HEAD, *SKINS], value=OF_THE_HEAD, label="Skin")
        for name, label in (("large", "Larger"), ("long", "Longer"), ("narrow", "Narrower")):
            found[name] = gr.Slider(-MAX_BUILD, MAX_BUILD, 0, step=0.1, label=label)
    return found


def _sampling(gr) -> dict:
    """The inputs for sampling."""
    default = Wish(None)
    with gr.Accordion("Sampling", open=False):
        return {
            "scale_audio": gr.Slider(0, MAX_GUIDANCE, default.scale_audio, step=0.05, label="Audio guidance"),
            "scale_style": gr.Slider(0, MAX_GUIDANCE, default.scale_style, step=0.05, label="Style guidance"),
            "steps": gr.Slider(1, MAX_STEPS, FEW_STEPS, step=1, label="Steps"),
            "seed": gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed (another number, another take)"),
        }


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

    stage = scene(studio.flame)

    @app.get("/viewer/stage.json")
    def shared() -> dict:
        return stage

    app.mount("/viewer", StaticFiles(directory=STATIC), name="viewer")
    page = make_page(studio)
    _check_uploads(page)
    return gr.mount_gradio_app(
        app, page, path="/", max_file_size=UPLOAD, show_error=True, css=CSS, footer_links=["gradio"], run_history=False
    )


def _check_uploads(page) -> None:
    """Let Gradio refuse requests that name other files than the visitors' uploads: it checks this only for pages that
    are marked as launched, which mounting does not do (Gradio 6.31).

    Raises:
        UserError: another version of Gradio, which marks pages in another way.
    """
    if "has_launched" not in vars(page):
        raise UserError(
            "this version of Gradio is not the one that the page was made for: `make web` installs that one"
        )
    page.has_launched = True


def sweeping(studio: Studio, stop: threading.Event) -> None:
    """Remove old results until `stop`."""
    while not stop.wait(SWEEP_SECONDS):
        studio.sweep(KEEP_SECONDS)
