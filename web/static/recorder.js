// A button that records from the microphone, which is asked for only when the button is pressed.

export const NO_MICROPHONE = 'Browsers record only at this computer\'s own address (127.0.0.1) or over https; '
  + 'upload a file instead.';
export const REFUSED = {
  NotAllowedError: 'The browser does not let this page use the microphone; allow it, or upload a file.',
  NotFoundError: 'No microphone was found; upload a file instead.',
};

// `said` gets what to tell the visitor, `done` the recording and its file's name.
export function recorder(button, seconds, { said, done }) {
  let running = null;
  const begin = async () => {
    if (!navigator.mediaDevices || !window.MediaRecorder) {
      said(NO_MICROPHONE);
      return;
    }
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true }), pieces = [];
    const machine = running = new MediaRecorder(stream), start = performance.now();
    const clock = setInterval(() => {
      const past = (performance.now() - start) / 1000;
      button.textContent = `Stop (${Math.floor(past)} s)`;
      if (past >= seconds - 0.5) machine.stop();
    }, 200);
    machine.ondataavailable = (e) => pieces.push(e.data);
    machine.onstop = () => {
      clearInterval(clock); running = null; button.textContent = 'Record again';
      stream.getTracks().forEach((track) => track.stop());
      const kind = machine.mimeType.includes('mp4') ? 'm4a' : 'webm';
      done(new Blob(pieces, { type: machine.mimeType }), `recording.${kind}`);
    };
    machine.start(); button.textContent = 'Stop'; said('Recording …');
  };
  button.addEventListener('click', () => {
    if (running) running.stop();
    else begin().catch((error) => said(REFUSED[error.name] || `The microphone does not work: ${error.message}`));
  });
}
