/** Requests to the service this page came from: token, problems in words, and waiting where that helps. */

/** What the service refused, as it said it (problem+json). */
export class Problem extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.detail || body.title || `The service answered with status ${status}.`);
    Object.assign(this, { status, retryAfter });
  }
}

/** No answer at all: the device is off, or the network is. */
export class ConnectionLost extends Error {}

let token = "";
let asking = null;
let askForToken = async () => "";

/** Who asks the person for the token: (refused: boolean) → token, or "" where the person cancels. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

export const hasToken = () => token !== "";

/** The response to a request that succeeded. `ask: false`: a 401 does not ask the person for a token. */
export async function call(path, { ask = true, headers = {}, ...options } = {}) {
  const url = new URL(path, document.baseURI);
  if (url.origin !== location.origin) throw new Problem(0, { detail: "The service named an address of another site." });
  for (;;) {
    const sent = token;
    const given = sent ? { ...headers, Authorization: `Bearer ${sent}` } : headers;
    const response = await reach(url, { ...options, headers: given, cache: "no-store" });
    if (response.ok) return response;
    if (response.status !== 401 || !(ask || token !== sent)) throw await problemOf(response);
    if (token !== sent) continue; // another request has asked meanwhile
    asking ??= askForToken(sent !== "").finally(() => (asking = null));
    const answer = await asking;
    if (!answer) throw await problemOf(response);
    token = answer;
  }
}

export const getJson = async (path, options) => (await call(path, options)).json();

async function reach(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new ConnectionLost("No connection to the device.");
  }
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // not from the service itself, such as a proxy's page
  }
  const seconds = Number(response.headers.get("Retry-After"));
  return new Problem(response.status, body && typeof body === "object" ? body : {}, seconds > 0 ? seconds : null);
}

const MOST_TRIES_WHEN_BUSY = 20;

/** Try until the work succeeds: a lost connection for as long as it lasts, a busy device some times; onWait is told of each wait. */
export async function persist(work, onWait, signal) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const busy = error instanceof Problem && (error.status === 429 || error.status === 503);
      if (!(error instanceof ConnectionLost) && !(busy && tries < MOST_TRIES_WHEN_BUSY)) throw error;
      const seconds = busy ? error.retryAfter ?? 2 : Math.min(15, 2 ** tries);
      onWait(error, seconds);
      await pause(1000 * seconds, signal);
    }
  }
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(new DOMException("stopped", "AbortError")));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), ms);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
