// Sums over the pages of a pool. Pure: a report in, numbers out.

/** @typedef {import("/hearth/index.js").PoolReport} PoolReport */

/**
 * @typedef {{total: number, held: number, shared: number, cached: number, free: number, max: number, pageBytes: number,
 *   savedBytes: number}} PoolSummary pages, and bytes that sharing saves: what the tabs would take beyond this if each had its own
 */

/** @param {PoolReport} pool @returns {PoolSummary} */
export function summarise(pool) {
  const summary = {
    total: pool.pages.length,
    held: 0,
    shared: 0,
    cached: 0,
    free: 0,
    max: Math.max(pool.pagesMax, pool.pages.length),
    pageBytes: pool.pageBytes,
    savedBytes: 0,
  };
  for (const { state, tabs } of pool.pages) {
    summary[state] += 1;
    if (state === "free" || tabs.length < 2) continue;
    summary.shared += 1;
    summary.savedBytes += (tabs.length - 1) * pool.pageBytes;
  }
  return summary;
}

/** What each tab has: pages in use, cached, and those of both that others have too. @param {PoolReport} pool */
export function pagesByTab(pool) {
  /** @type {Map<string, {held: number, cached: number, shared: number}>} */
  const byTab = new Map();
  for (const { state, tabs } of pool.pages) {
    if (state === "free") continue;
    for (const tab of tabs) {
      const pages = byTab.get(tab) ?? { held: 0, cached: 0, shared: 0 };
      pages[state] += 1;
      if (tabs.length > 1) pages.shared += 1;
      byTab.set(tab, pages);
    }
  }
  return byTab;
}
