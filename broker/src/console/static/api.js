// The JSON API, asked again and again while somebody looks.

export class Refused extends Error {}

/** GET of `api/v1/<what>`. Fails with the sentence of the answer. */
export async function get(what, parameters = {}, signal) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  const response = await fetch(`api/v1/${what}${text && `?${text}`}`, { signal, headers: { accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(body.error ?? `the broker answered ${response.status}`);
  return body;
}

/**
 * Calls `work` with a signal, now and `every` ms after it ended, while the page is visible. Returns what ends it
 * and what does the next round at once.
 */
export function poll(every, work) {
  let timer = null, running = null, ended = false;
  const round = async () => {
    clearTimeout(timer);
    running?.abort();
    const own = running = new AbortController();
    await work(own.signal);
    if (!ended && running === own && !document.hidden) timer = setTimeout(round, every);
  };
  const seen = () => (document.hidden ? clearTimeout(timer) : round());
  document.addEventListener("visibilitychange", seen);
  round();
  const end = () => {
    ended = true;
    clearTimeout(timer);
    running?.abort();
    document.removeEventListener("visibilitychange", seen);
  };
  return { end, now: round };
}
