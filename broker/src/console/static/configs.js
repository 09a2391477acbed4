// Configuration: of the broker, and the table that topics use too.

import { get } from "./api.js";
import { badge, card, h, heading, search, table, toggle } from "./dom.js";
import { NONE, count } from "./format.js";

export const every = 10_000;

export const load = (_, __, signal) => get("broker", {}, signal);

export function draw(broker, state, change) {
  const wanted = (state.search ?? "").toLowerCase();
  const found = broker.configs.filter((config) => config.name.includes(wanted) || (config.value ?? "").toLowerCase().includes(wanted));
  return [
    heading("Configuration", badge(`broker ${broker.broker_id}`), h("div", { class: "tools" }, search("Search properties", state, change))),
    card(null, configTable(found, state, change)),
  ];
}

/** Properties, those that are set first marked; what a property means opens below its name. */
export function configTable(configs, state, change) {
  const set = configs.filter((config) => config.is_set);
  const shown = state.onlySet ? set : configs;
  return [
    h("div", { class: "filter" }, toggle(`only the ${count(set.length)} that are set`, state.onlySet, (onlySet) => change({ onlySet }))),
    table("Properties", [
      { name: "Property", wide: true, of: (config) => property(config) },
      { name: "Value", wide: true, of: (config) => value(config.is_sensitive, config.value) },
      { name: "Source", of: (config) => (config.is_set ? badge(source(config.source), "accent") : source(config.source)) },
      { name: "Type", of: (config) => [config.type, config.is_read_only && badge("read-only")] },
    ], shown, { empty: "No property to show." }),
  ];
}

function property(config) {
  return h("details", { "data-key": config.name },
    h("summary", {}, h("code", {}, config.name)),
    h("p", {}, config.documentation),
    config.synonyms.length > 0 && h("ul", { class: "synonyms" }, config.synonyms.map((synonym) =>
      h("li", {}, h("code", {}, synonym.name), " = ", value(config.is_sensitive, synonym.value), ` (${source(synonym.source)})`))));
}

function value(isSensitive, text) {
  if (isSensitive) return h("em", {}, "hidden");
  if (text === null) return NONE;
  return text === "" ? h("em", {}, "empty") : h("code", { class: "value" }, text);
}

/** `DYNAMIC_TOPIC_CONFIG` becomes `dynamic topic`. */
function source(name) {
  return name.replace(/_CONFIG$/, "").replaceAll("_", " ").toLowerCase();
}
