// @ts-check
/** The comparison of a report, of all of its runs or of some: what the server answers to `compare`. */

const COMPARED_PARTS = ["config", "summary", "environment", "packages"];

/**
 * @param {any} whole the answer for all runs @param {string[]} keys of those that are asked for
 * @param {boolean} isDiffering only what differs
 */
export function comparedRunsOf(whole, keys, isDiffering) {
  const places = keys.map((key) => whole.runs.findIndex((row) => row.key === key));
  const known = places.filter((place) => place >= 0);
  const parts = COMPARED_PARTS.map((part) => [part, partOf(whole[part], known, isDiffering)]);
  const runs = known.map((place) => whole.runs[place]);
  return { ...whole, runs, unknown: keys.filter((_key, at) => places[at] < 0), ...Object.fromEntries(parts), code: codeOf(whole.code, known, isDiffering) };
}

/** @param {any} part @param {number[]} places @param {boolean} isDiffering */
function partOf(part, places, isDiffering) {
  const rows = part.names.map((name, at) => ({ name, values: places.map((place) => part.values[at][place]), differed: part.differs[at] }));
  // What is the same in all is so in some; values that look the same may differ, as a text that was cut.
  const told = rows.map((row) => ({ ...row, differs: row.differed && (new Set(row.values).size > 1 || places.length === part.values[0]?.length) }));
  const kept = told.filter((row) => row.differs || !isDiffering);
  return { ...part, names: kept.map((row) => row.name), values: kept.map((row) => row.values), differs: kept.map((row) => row.differs), equal: told.filter((row) => !row.differs).length };
}

/** @param {any} code @param {number[]} places @param {boolean} isDiffering */
function codeOf(code, places, isDiffering) {
  const troubles = places.map((place) => code.troubles[place]);
  const members = code.members.map((member) => {
    const states = places.map((place) => member.states[place]);
    return { ...member, states, differs: new Set(states.filter((_state, at) => troubles[at] === null)).size > 1 };
  });
  return { ...code, members: members.filter((member) => member.differs || !isDiffering), equal: members.filter((member) => !member.differs).length, troubles };
}
