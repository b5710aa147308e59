// What this document is: the demo, or with `?stress=1` one of the tabs that the demo opens to put the pool under load.

const isStressTab = new URLSearchParams(location.search).has("stress");
void import(isStressTab ? "./stress-tab.js" : "./app.js");
