// What the sample log is made of: sentences with places for words. {a|b} chooses one of them; {name} is filled in by sample.js.

export const PEOPLE = [
  { name: "Ines Halloran", role: "leader" },
  { name: "Tobias Wray", role: "surveyor" },
  { name: "Marit Solheim", role: "physician" },
  { name: "Desmond Achebe", role: "geologist" },
  { name: "Lucia Ferrante", role: "botanist" },
  { name: "Piet van Oort", role: "boatman" },
  { name: "Anneke Birch", role: "cook" },
  { name: "Samuel Okoro", role: "wireless operator" },
];

/** Stages of the journey: where it goes, how the land is, and the names of its places. */
export const STAGES = [
  {
    title: "The Lower Orrin",
    land: "river",
    places: ["Tallow Wharf", "Heron Bend", "the Two Poplars", "Saltmarsh Ferry", "Quill Island", "the Drowned Mill", "Mason's Reach", "Pike Landing", "the Long Shallows", "Bellrope Bridge"],
  },
  {
    title: "The Gorge of Echoes",
    land: "gorge",
    places: ["the Narrow Door", "Lantern Ledge", "Swift Stair", "the Kettle", "Otter Shelf", "the Hanging Birches", "Cold Spout", "Mirror Pool", "the Broken Organ", "Eyrie Camp"],
  },
  {
    title: "The Bracken Forest",
    land: "forest",
    places: ["Fern Gate", "the Charcoal Ring", "Woodcock Hollow", "the Fallen Giant", "Honey Clearing", "Badger Bank", "the Green Room", "Adder Stones", "Marten Camp", "the Last Oak"],
  },
  {
    title: "The Sarn Moor",
    land: "moor",
    places: ["Windy Gap", "Curlew Pan", "the Seven Cairns", "Peat Cutting", "Grouse Knoll", "the Black Tarn", "Sleet Hut", "Cotton Flat", "the Leaning Stone", "Hare Ridge"],
  },
  {
    title: "The Veda Glacier",
    land: "ice",
    places: ["Moraine Camp", "the Blue Arch", "Serac Town", "Needle Bridge", "the White Floor", "Crevasse Nine", "Ptarmigan Rock", "the Ice Fall", "Silence Basin", "Halloran's Col"],
  },
  {
    title: "The Orrin Plateau",
    land: "plateau",
    places: ["Dry Lake", "the Red Table", "Lark Spring", "the Obelisk", "Salt Lick", "Meteor Bowl", "Cinder Hill", "the Old Fort", "Sundial Rock", "Journey's End"],
  },
];

export const OPENINGS = [
  "We broke camp at {hour} and packed under {a low sky|a clear sky|thin cloud|a red dawn}.",
  "{person} woke everybody at {hour}, earlier than {anyone|most of us|the birds} would have liked.",
  "{Breakfast was porridge and|Breakfast was cold, with|We ate standing, and had} {tea|coffee|the last of the broth}, and by {hour} the loads were tied.",
  "A {slow|late|quick|quiet} start: {the tents were wet|one strap had to be mended|the fire would not draw|the mist lay thick}, and it was {hour} before we moved.",
  "{Nobody slept well for the wind|We all slept soundly in spite of the frost|Half of us slept badly with water so near}, and work began at {hour}.",
  "The order of march today was {person}, then the loads, with {person2} at the rear.",
];

export const WEATHER = [
  "The thermometer stood at {temperature} degrees at sunrise and the barometer was {falling|rising|steady}.",
  "At noon {person} noted {a light breeze|a stiff wind|hardly any air} from the {north|south|east|west}.",
  "{Rain|Drizzle|Sleet|A hard shower} came over us twice before noon, and the {hoods|capes|covers} were wet through.",
  "The sky cleared {towards evening|about noon|for an hour}, and we saw {the whole ridge|as far as yesterday's camp|the next three days of our way} at once.",
  "The wind {went round to the north|dropped after midday|blew in our faces all day|brought dust}, and {the smoke lay flat|the tents drummed|we shouted to be heard}.",
  "Fog {kept us together on the rope|hid the far side until ten|came and went}; we steered by compass, {person} calling the bearings.",
];

export const LAND = {
  river: [
    "The river is {forty|sixty|eighty|a hundred} metres wide here and the colour of {weak tea|slate|wet sand}.",
    "{person} sounded the channel and found {number} metres at the deepest.",
    "We poled along the {left|right} bank, where the reeds {give shelter|hide the shoals|are full of warblers}.",
    "Two {barges|rafts|fishing boats} passed us going down, and their people {waved|asked for news|sold us eels}.",
    "An island of {alder|willow|gravel} divides the stream, and we chose the {narrower|wider} arm.",
  ],
  gorge: [
    "The walls stand {two hundred|three hundred|four hundred} metres over the water and let in the sun for {two|three|four} hours only.",
    "We hauled the boat over a step of {number} metres, which cost the rest of the {morning|afternoon}.",
    "Every word comes back {twice|three times|changed} from the other side; {person} tried it with a whistle.",
    "A ledge, hardly {a boot|two boots|an arm} wide, took us round the worst of the rapids.",
    "{person} marked the flood line on the rock, {number} metres above today's water.",
  ],
  forest: [
    "The ferns reach to the shoulder, and whoever walks last {sees only hats|hears the others by their pans|walks in a green tunnel}.",
    "We counted {number} fallen trunks across the way, and climbed {all|most} of them.",
    "The ground is {soft and black|full of roots|springy like a mattress}, and the ponies {like it|do not trust it|had to be led}.",
    "{person} blazed every {tenth|twentieth} tree, so that the way back is plain.",
    "Under the beeches it is {so dark that|so still that} {the compass had to be read by lamp|one hears leaves fall|even the ponies walked softly}.",
  ],
  moor: [
    "The moor goes on in {long swells|brown waves|shallow steps}, each like the one before it.",
    "We sank to the {ankle|knee|boot tops} in places; planks were laid {four|five|six} times.",
    "Somebody once set up {stones|posts|whitewashed boulders} here, and they still lead the right way.",
    "{person} cut peat for the fire and found it {a metre|two metres} deep, with {birch bark|hazel nuts|a deer's antler} at the bottom.",
    "There is no shelter but {the banks of the stream|a fold of the ground|our own tents}.",
  ],
  ice: [
    "The snow bore us until {nine|ten|eleven}, and after that we {broke through at every third step|put on the boards|waited for the cold}.",
    "We crossed {number} crevasses, the widest of them {two|three|four} metres, on {snow bridges|the ladder|the sledge laid across}.",
    "The ice {groaned|cracked like a rifle|was silent} all {day|night|afternoon}.",
    "{person} measured how far yesterday's stakes had moved: {number} centimetres.",
    "Everything is {blue|white|grey} here, and {the eyes hurt|we wear the dark glasses|distances cannot be guessed}.",
  ],
  plateau: [
    "The plateau lies as flat as a {table|drum|plate}, and our shadows were {the longest|the only} things on it.",
    "We walked by the clock, {fifty minutes|forty minutes} in every hour, straight to the {north-east|east|north}.",
    "The stones are {red|black|ochre} and ring when they are struck; {person} filled a bag with them.",
    "Water is the question every day here: today's spring gave {number} litres in an hour.",
    "One sees the evening camp at noon, and it {comes no nearer|seems to float|is farther than it looks} for hours.",
  ],
};

export const WORK = [
  "{person} took {number} bearings and drew the {bend|ridge|slope|shore} into the map before the light went.",
  "{person}, our {role}, {spent the halt|sat until dark|was busy for an hour} over the {notebook|instruments|samples|boxes}.",
  "The wireless brought {a weather report|a message from the coast|nothing but noise|the time signal}, and {person} wrote it down word for word.",
  "{person} collected {number} specimens and pressed {half|most|all} of them between blotting paper.",
  "We mended {a tent pole|two straps|the stove|a torn sail|three boots}, with {wire|waxed thread|a splint of ash|a piece of tin}.",
  "A cairn was built at the halt, {number} stones high, with our names in a bottle.",
  "{person} taught {person2} to {read the sextant|splice a rope|bake in the ashes|tell the larks apart}, with {some|little|good} success.",
  "The chronometer was compared with the time signal and found {one second|two seconds|three seconds} {slow|fast}.",
];

export const LIFE = [
  "We saw {number} {cranes|wild geese|herons|ravens} going {south|east|over us in silence}.",
  "{A fox|A marten|An otter|A stoat} came to the camp at dusk and {took nothing|stole a crust|looked at us for a long time}.",
  "{person} found tracks of {deer|wolf|boar|hare} by the water, {an hour old at most|from last night|with young}.",
  "The {midges|horseflies|ants} were {bad|worse than yesterday|hardly to be borne}, and we sat in the smoke.",
  "{person} heard {an owl|a bittern|a nightjar} and would not come in until it had stopped.",
  "By the path grow {sundew|gentians|cloudberries|saxifrage|bog myrtle}, which {person} had not expected so {high|low|late}.",
];

export const PEOPLE_NOTES = [
  "{person} has a {blistered heel|sore shoulder|cough|burnt hand}; {doctor} ordered {rest|dry socks|hot tea|a lighter load}.",
  "There were words between {person} and {person2} about {the pace|the tent|the sugar|who washes up}, and at supper they laughed about it.",
  "{person} read aloud from {a book of sea stories|an almanac|letters from home}, until {the lamp was wanted|we slept|the rain drowned it}.",
  "In the evening {person} played {the mouth organ|the fiddle|on a comb}, and even {person2} sang.",
  "{person} told us about {a winter in the lighthouse|a school by the sea|the great flood|a grandmother's orchard}, and nobody interrupted.",
  "{person} won at {cards|draughts|dominoes} again, and owes {person2} nothing any more.",
];

export const CLOSINGS = [
  "We pitched the tents at {place} after {distance} kilometres.",
  "Camp tonight is {place}, {distance} kilometres on; {we could have gone farther|nobody could have gone farther|the ground is dry}.",
  "At {hour2} we reached {place}, {distance} kilometres from the last camp, and made fire {at the first try|with difficulty|from driftwood and heather}.",
  "{distance} kilometres today, which brings us to {place}.",
];

/** On days on which the camp stays where it is. */
export const STAYS = [
  "We keep the camp at {place}, having scouted {distance} kilometres of the way ahead and come back.",
  "The tents stay at {place} for another night; {distance} kilometres were walked for the map alone.",
  "Back at {place} by {hour2}, after a round of {distance} kilometres without the loads.",
];
