// Plain prose of any length for tests: the same each time, with facts that can be asked about.

const PLACES = ["Varde", "Holm", "Sandvik", "Lauv", "Tunheim", "Brekke", "Orsa", "Nesset"];
const THINGS = ["a broken oar", "three crates of lamps", "a map without names", "salt for the winter", "a letter from the coast", "two old bells"];
const DEEDS = ["repaired the roof", "counted the boats", "walked to the ridge", "wrote the log", "waited for the fog to lift", "baked bread"];
const WEATHER = ["The wind came from the north", "It rained until noon", "The sea was flat and grey", "Snow fell in the evening", "The sky was clear"];

/** About `words` words of a log, in days with headings. */
export function article(seed: number, words: number): string {
  let state = seed * 2_654_435_761 % 2 ** 32;
  const pick = <T>(from: readonly T[]): T => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return from[Math.floor((state / 2 ** 32) * from.length)] as T;
  };
  const days: string[] = [];
  for (let day = 1, count = 0; count < words; day += 1) {
    const sentences = [`## Day ${day} at ${pick(PLACES)}`, ""];
    const lines = Array.from(
      { length: 6 },
      () => `${pick(WEATHER)}, and we ${pick(DEEDS)} near ${pick(PLACES)}. Later somebody found ${pick(THINGS)} and ${pick(DEEDS)} again.`,
    );
    sentences.push(lines.join(" "), "");
    days.push(sentences.join("\n"));
    count += sentences.join(" ").split(/\s+/).length;
  }
  return days.join("\n");
}

/** The same with one sentence that stands alone in what it says, somewhere in the middle. */
export function articleWith(needle: string, seed: number, words: number): string {
  const days = article(seed, words).split("\n\n");
  days.splice(Math.floor(days.length / 2), 0, needle);
  return days.join("\n\n");
}
