// A photo from the camera. Browsers offer it to pages of this computer, and ask the user first.

const byId = (id) => document.getElementById(id);
const [button, view, video, shoot, leave] = ["camera", "camera-view", "video", "shoot", "leave"].map(byId);
const REASONS = {
  NotAllowedError: "the browser was not allowed to use it",
  NotFoundError: "there is none",
  NotReadableError: "another program uses it",
};

/** Shows the button where there can be a camera; `take` gets a photo as a blob, `fail` a sentence. */
export function offerCamera(take, fail) {
  if (!navigator.mediaDevices?.getUserMedia) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (problem) {
      fail(`The camera cannot be used: ${REASONS[problem.name] ?? problem.message}.`);
      return;
    }
    view.showModal();
  });
  leave.addEventListener("click", () => view.close());
  view.addEventListener("close", () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop(); // its light goes out
    video.srcObject = null;
  });
  shoot.addEventListener("click", async () => {
    if (!video.videoWidth) return; // no image has come yet
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    view.close();
    canvas.toBlob(take, "image/jpeg", 0.95);
  });
}
