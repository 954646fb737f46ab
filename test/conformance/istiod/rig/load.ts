/** Requests that never pause, and what became of them. */
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { request, type Answer } from './mesh-agent.ts'

export type LoadOptions = {
  readonly port: number
  readonly path: string
  readonly host: string
  readonly workers: number
}

const ENOUGH = 100

/** Several clients, each with a connection that is kept, each asking again as soon as it has its answer. */
export class Load {
  readonly failed: Answer[] = []
  answered = 0
  #stopped = false
  readonly #agent: http.Agent
  readonly #done: Promise<unknown>

  constructor(o: LoadOptions) {
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: o.workers })
    this.#done = Promise.all(Array.from({ length: o.workers }, () => this.#work(o)))
  }
  /** Not before there were enough to say something, however slow the machine. */
  async stop(): Promise<void> {
    while (this.answered <= ENOUGH && this.failed.length === 0) await sleep(2)
    this.#stopped = true
    await this.#done
    this.#agent.destroy()
  }
  async #work({ port, path, host }: LoadOptions): Promise<void> {
    while (!this.#stopped) {
      const answer = await request({ port, path, headers: { host }, agent: this.#agent })
      if (answer.status === 200) this.answered++
      else this.failed.push(answer)
      // A few thousand requests a second from this process would be the test's own load.
      await sleep(2)
    }
  }
}
