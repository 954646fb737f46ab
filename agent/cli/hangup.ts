import { detach, doNothing } from '../../core/defects/guard.ts'
import type { Agent } from '../agent.ts'

/** SIGHUP. One that comes during the start counts after it: the file may have changed since it was read. */
export class Hangup {
  #agent: Pick<Agent, 'reload'> | undefined
  #isDue = false

  heard(): void {
    if (!this.#agent) {
      this.#isDue = true
      return
    }
    detach(
      'configuration',
      // A refusal is told by the reloader: in the log, in the status and by a counter.
      this.#agent.reload().catch(doNothing),
    )
  }
  started(agent: Pick<Agent, 'reload'>): void {
    this.#agent = agent
    if (this.#isDue) this.heard()
  }
}
