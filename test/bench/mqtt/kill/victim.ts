/** An agent that is killed while others count what it acknowledged. */
import { sleep } from '../../../conformance/programs.ts'
import type { Agent } from '../../../conformance/package/shipped.ts'

/** By SIGKILL. Rejects when it had ended by itself. */
export async function killAgent({ process }: Agent): Promise<void> {
  const ended = await process.stop('SIGKILL')
  if (ended !== 'SIGKILL') throw new Error(`the agent ended by itself with ${ended}:\n${process.log.slice(-4000)}`)
}

/** Resolves when nothing is missing, or when what is missing has been the same for `silentMs`. */
export async function waitUntilNoneIsMissing(missing: () => number, silentMs: number): Promise<void> {
  for (
    let [before, sinceMs] = [-1, 0];
    missing() > 0 && (missing() !== before || performance.now() - sinceMs < silentMs);
    await sleep(20)
  )
    if (missing() !== before) [before, sinceMs] = [missing(), performance.now()]
}
