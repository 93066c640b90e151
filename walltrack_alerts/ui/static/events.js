// Events between the parts of a panel; types.d.ts lists them.

/** @returns {import('./types.js').EventBus} */
export function createEvents() {
  /** @type {Map<string, ((value: never) => void)[]>} */
  const handlers = new Map();
  return {
    on(name, handler) {
      handlers.set(name, [...(handlers.get(name) ?? []), handler]);
    },

    emit(name, ...value) {
      for (const handler of handlers.get(name) ?? []) {
        try {
          handler(/** @type {never} */ (value[0]));
        } catch (error) {
          console.error(error); // a fault in one part leaves the others running
        }
      }
    },
  };
}
