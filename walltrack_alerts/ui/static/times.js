// Formats times for the charts, in the viewer's time zone. Pure functions.

/** @param {{ timezone: string, days: number }} range */
export function createTimes({ timezone, days }) {
  /**
   * @param {number} ms
   * @param {Intl.DateTimeFormatOptions} options
   */
  const at = (ms, options) => new Intl.DateTimeFormat([], { timeZone: timezone, hourCycle: 'h23', ...options }).format(ms);

  /** @param {number} ms */
  const asDay = (ms) => at(ms, { weekday: 'short', day: 'numeric', month: 'short' });

  /** @param {number} ms */
  const asTime = (ms) => at(ms, { hour: '2-digit', minute: '2-digit' });

  /** @param {number} ms */
  const asDate = (ms) => at(ms, { day: 'numeric', month: 'short' });

  const isDaily = days > 3;

  return {
    isDaily,
    asTime,
    asDate,

    /** @param {number} ms */
    hourOf: (ms) => Number(at(ms, { hour: '2-digit' }).match(/\d+/)?.[0]),

    /**
     * The label of a day on the axis; the month only where weekdays would repeat.
     * @param {number} ms
     */
    dayLabel: (ms) => (days > 7 ? asDate(ms) : `${at(ms, { weekday: 'short' })} ${at(ms, { day: 'numeric' })}`),

    /** @param {import('./types.js').Bucket} bucket */
    nameOf({ from, to, at: moment }) {
      if (moment !== undefined) return `${asDay(moment)}, ${asTime(moment)}`;
      return isDaily ? asDay(from) : `${asDay(from)}, ${asTime(from)}–${asTime(to)}`;
    },
  };
}
