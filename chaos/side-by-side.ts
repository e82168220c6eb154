/** Makes one trial. */
type Try = (trial: number) => Promise<void>;

/**
 * Makes trials in several lanes at once, so that one waits while another works.
 * @param open makes what a lane stands on, of its own, and gives back what makes one trial there
 */
export async function sideBySide(lanes: number, trials: number, open: (lane: number) => Promise<Try>): Promise<void> {
  let next = 0;
  const run = async (lane: number): Promise<void> => {
    const tryOne = await open(lane);
    while (next < trials) await tryOne(next++);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, trials) }, (_, lane) => run(lane)));
}
