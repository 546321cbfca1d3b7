// Runs cases one after the other and prints a line of JSON for each.
export const url = process.env.URL;
export const key = process.env.KEY;

const waiting = [];

/** Add a case: the operation it is about, what it shows, and the function that shows it. */
export function test(operation, name, run) {
  waiting.push({ operation, name, run });
}

/** Run those whose name has the wanted text in it. */
export async function runAll() {
  for (const { operation, name, run } of waiting) {
    if (!name.includes(process.env.ONLY ?? "")) continue;
    const began = performance.now();
    const outcome = { operation, case: name, ok: true, why: "" };
    try {
      await run();
    } catch (error) {
      outcome.ok = false;
      outcome.why = `${error.name}: ${error.message}`.slice(0, 1500);
    }
    outcome.seconds = (performance.now() - began) / 1000;
    console.log(JSON.stringify(outcome));
  }
}
