// Formats numbers, times and words. Pure functions.

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * @param {string} text
 * @param {number} most characters
 */
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/**
 * A length of time in its two largest units: 5s, 2m 05s, 3h 07m, 2d 4h.
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')}m`;
  return `${Math.floor(seconds / 86400)}d ${Math.floor((seconds % 86400) / 3600)}h`;
}

/**
 * A time of day in the viewer's zone; with its date unless it is today.
 * @param {number} ms since 1970
 * @param {{ seconds?: boolean, now?: number }} [options]
 */
export function clock(ms, { seconds = true, now = Date.now() } = {}) {
  const at = new Date(ms);
  /** @type {Intl.DateTimeFormatOptions} */
  const digits = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(seconds && { second: '2-digit' }) };
  const time = at.toLocaleTimeString([], digits);
  const isToday = at.toDateString() === new Date(now).toDateString();
  return isToday ? time : `${at.toLocaleDateString([], { day: 'numeric', month: 'short' })} ${time}`;
}

/**
 * How far a time is from now: '2m 05s' (with the suffix) since then, 'in 5m 00s' until then.
 * @param {number} ms since 1970
 * @param {number} now
 * @param {string} [suffix] such as ' ago'
 */
export function distance(ms, now, suffix = '') {
  const passed = now - ms;
  return passed < -1000 ? `in ${duration(-passed)}` : duration(passed) + suffix;
}

/**
 * Times that the database writes in UTC, in the viewer's zone.
 * @param {string} text
 */
export const localizeTimes = (text) =>
  text.replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC/g, (_, day, time) => clock(Date.parse(`${day}T${time}Z`)));

/**
 * The round step that divides an axis up to `most` into about `wanted` parts.
 * @param {number} most
 * @param {number} [wanted]
 * @returns {number}
 */
export function roundStep(most, wanted = 4) {
  const rough = Math.max(most / wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? 10 * power;
}

const TIME_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/**
 * The same for an axis of seconds.
 * @param {number} most
 */
export function roundTimeStep(most) {
  return TIME_STEPS_S.find((each) => each * 4 >= most) ?? roundStep(most / 86400) * 86400;
}

/** @param {number} seconds */
export function shortTime(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 6) / 10} min`;
  if (seconds < 86400) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8640) / 10} d`;
}
