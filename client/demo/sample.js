// The built-in long text: the log of an expedition that never was, about 20,000 words, the same every time. Besides what chance
// writes it holds facts with one answer each, spread over the days, so that a question shows whether all of it was read.

import { CLOSINGS, LAND, LIFE, OPENINGS, PEOPLE, PEOPLE_NOTES, STAGES, STAYS, WEATHER, WORK } from "./sample-words.js";

const NUM_DAYS = 132;
const START = Date.UTC(1931, 3, 7);
const DAY_MS = 86_400_000;
const SEED = 1931;

/** Things that happen on one day only. @type {Record<number, string>} */
const FACTS = {
  1: "The stores at the start were counted on the quay: 640 kilograms of flour, 210 litres of paraffin, 48 tins of butter and 9 ponies.",
  5: "Wray's spare sextant fell overboard at Heron Bend and could not be found, though van Oort dived for it eleven times.",
  9: "We bought a second boat from the ferryman of Saltmarsh Ferry for 35 crowns and a watch, and named it the Patience.",
  13: "In the cellar of the Drowned Mill Ferrante found a jar with 312 silver coins, which we left with the village priest.",
  23: "A letter from the Academy reached us by rider: the glacier is to be crossed before the first of August, or not at all.",
  31: "The Patience was smashed on the rocks of the Kettle. Nobody was hurt, but 80 kilograms of flour were lost.",
  38: "The large anchor was lost at Cold Spout when its rope parted, and a bag of stones has to serve from now on.",
  40: "Achebe split a boulder at Mirror Pool and found in it the print of a fish with feathers, 41 centimetres long.",
  47: "Okoro repaired the wireless with a spring from the cook's clock, and Birch now boils the eggs by singing.",
  49: "Solheim took out Achebe's aching tooth at the Charcoal Ring. He has asked for the tooth, and wears it on a string.",
  51: "A pony named Bishop ran away in Woodcock Hollow and came back in the night with a wreath of honeysuckle on its neck.",
  63: "Ferrante named a new orchid after her sister: Orrinia claudiae. It is white, with a violet lip, and smells of pepper.",
  66: "At the Last Oak we buried a copper box with 14 letters, to be opened by whoever comes here after the year 2000.",
  73: "The Seven Cairns are eight. We counted them three times.",
  79: "On the Black Tarn we saw lights moving under the water for twenty minutes. Halloran has forbidden any explanation before supper.",
  90: "The flour was weighed again: 205 kilograms remain, enough for 46 days at the short ration.",
  101: "Van Oort fell into Crevasse Nine and was pulled out after 50 minutes, singing. Two of his ribs are cracked.",
  104: "The sledge dog that followed us from the moor gave birth to five pups in the store tent. One is called Paraffin.",
  110: "We crossed Halloran's Col, 3,184 metres above the sea by Wray's barometer, the highest camp of the journey.",
  117: "At Lark Spring we met the second party, who had come from the north in 61 days and had no sugar left. We gave them six kilograms.",
  118: "The Obelisk is 22 metres high and made by hands. Its inscription has 96 signs, of which Halloran can read none.",
  123: "In Meteor Bowl Achebe dug up a piece of iron of 17 kilograms, and four of us carried it to the camp.",
  126: "Birch baked a cake for the hundred and twenty-sixth day from the last tin of butter, and it fell into the fire.",
  132: "Here the map is closed. Of nine ponies six are left, of eight people all. The flag is a tablecloth.",
};

/** What may be asked about the log, and what a complete reading answers. */
export const QUESTIONS = [
  { question: "Where was the large anchor lost, and what serves instead?", answer: "Cold Spout" },
  { question: "How high is the Obelisk and how many signs are on it?", answer: "22 metres" },
  { question: "Who fell into Crevasse Nine?", answer: "Van Oort" },
  { question: "What is buried in the copper box at the Last Oak?", answer: "14 letters" },
];

/** @returns {string} the log, with a heading for each stage and each day */
export function sampleLog() {
  const random = mulberry32(SEED);
  const lines = ["# The log of the Orrin survey, 1931", ""];
  lines.push(`Kept by turns, and copied fair at the end. The party: ${PEOPLE.map(({ name, role }) => `${name}, ${role}`).join("; ")}.`, "");
  const daysPerStage = NUM_DAYS / STAGES.length;
  let from = "the quay";
  let total = 0;
  for (let day = 1; day <= NUM_DAYS; day += 1) {
    const stage = STAGES[Math.floor((day - 1) / daysPerStage)];
    if ((day - 1) % daysPerStage === 0) lines.push(`## ${stage.title}`, "");
    const dayOfStage = (day - 1) % daysPerStage;
    const place = stage.places[Math.floor((dayOfStage * stage.places.length) / daysPerStage)];
    const distance = place === from ? 2 + Math.floor(random() * 5) : 6 + Math.floor(random() * 19);
    total += distance;
    const date = new Date(START + (day - 1) * DAY_MS).toLocaleDateString("en-GB", { day: "numeric", month: "long", timeZone: "UTC" });
    lines.push(`### Day ${day}, ${date}: ${place}`, "", ...entry(random, { day, stage, from, place, distance, total }), "");
    from = place;
  }
  return lines.join("\n");
}

/** The paragraphs of one day. */
function entry(random, { day, stage, from, place, distance, total }) {
  const fill = filler(random, { from, place, distance: String(distance) });
  const first = [...take(random, OPENINGS, 1), ...take(random, WEATHER, 2), ...take(random, LAND[stage.land], 2)];
  const second = [...take(random, WORK, 2), ...take(random, LIFE, 1), ...take(random, PEOPLE_NOTES, 2)];
  const fact = FACTS[day];
  if (fact !== undefined) second.splice(Math.floor(random() * second.length), 0, fact);
  const closing = take(random, place === from ? STAYS : CLOSINGS, 1);
  const paragraphs = [first.map(fill).join(" "), "", [...second, ...closing].map(fill).join(" ")];
  if (day % 11 === 0) paragraphs.push("", `Stock-taking on day ${day}: ${total} kilometres since the quay, and ${stock(day)}.`);
  return paragraphs;
}

/** @param {number} day */
function stock(day) {
  const paraffin = Math.max(6, Math.round(210 - day * 1.5));
  const butter = Math.max(0, 48 - Math.floor(day * 0.375));
  return `${paraffin} litres of paraffin and ${butter} tins of butter are left`;
}

/** Replaces the places for words in a sentence. @returns {(template: string) => string} */
function filler(random, { from, place, distance }) {
  return (template) => {
    const [person, person2] = take(random, PEOPLE, 2);
    const words = {
      from,
      place,
      distance,
      person: surname(person.name),
      person2: surname(person2.name),
      role: person.role,
      doctor: person.role === "physician" ? "Ferrante" : "Solheim",
      hour: pick(random, ["half past five", "six", "half past six", "seven", "a quarter past seven", "eight"]),
      hour2: pick(random, ["four", "half past four", "five", "six", "a quarter to seven", "nightfall"]),
      number: String(3 + Math.floor(random() * 24)),
      temperature: String(Math.floor(random() * 22) - 4),
    };
    const text = template.replace(/\{([^{}]+)\}/g, (_, inside) => words[inside] ?? pick(random, inside.split("|")));
    return text.charAt(0).toUpperCase() + text.slice(1);
  };
}

/** "van Oort" is called by both words. @param {string} name */
function surname(name) {
  return name.slice(name.indexOf(" ") + 1);
}

/** So many different ones of a list. @template T @param {() => number} random @param {T[]} list @param {number} number @returns {T[]} */
function take(random, list, number) {
  const rest = [...list];
  return Array.from({ length: number }, () => rest.splice(Math.floor(random() * rest.length), 1)[0]);
}

/** @template T @param {() => number} random @param {T[]} list @returns {T} */
function pick(random, list) {
  return list[Math.floor(random() * list.length)];
}

/** A small generator of chance whose numbers are the same everywhere. @param {number} seed */
function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
