/** The two questions that interrupt: a token, and a picture of the camera. */

import { byId } from "./dom.js";

/** Ask for the token; "" where the person cancels. `refused`: the one before was wrong. */
export function askForToken(refused) {
  const dialog = byId("token-dialog");
  byId("token-wrong").hidden = !refused;
  byId("token").value = "";
  return new Promise((resolve) => {
    let given = "";
    byId("token-form").onsubmit = (event) => {
      event.preventDefault();
      given = byId("token").value.trim();
      dialog.close();
    };
    byId("token-cancel").onclick = () => dialog.close();
    dialog.onclose = () => {
      byId("token").value = "";
      resolve(given);
    };
    dialog.showModal();
  });
}

/** Offer the camera where the browser lets this page use one; onPicture takes a File. */
export function offerCamera(onPicture) {
  if (!navigator.mediaDevices?.getUserMedia) return; // also absent where the address is neither https nor localhost
  const dialog = byId("camera-dialog");
  const video = byId("camera-video");
  let pictures = 0;
  byId("camera").hidden = false;
  byId("camera").onclick = async () => {
    byId("camera-error").hidden = true;
    dialog.showModal();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (dialog.open) video.srcObject = stream;
      else stop(stream);
    } catch {
      byId("camera-error").textContent = "The camera cannot be used: allow it in the browser, or connect one.";
      byId("camera-error").hidden = false;
    }
    byId("camera-take").disabled = !video.srcObject;
  };
  byId("camera-take").onclick = async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    if (!canvas.width) return; // no picture has come yet
    canvas.getContext("2d").drawImage(video, 0, 0);
    const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    pictures += 1;
    onPicture(new File([picture], `camera ${pictures}.jpg`, { type: "image/jpeg" }));
    dialog.close();
  };
  byId("camera-close").onclick = () => dialog.close();
  dialog.onclose = () => {
    if (video.srcObject) stop(video.srcObject);
    video.srcObject = null;
  };
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());
