/** mosquitto_pub and mosquitto_sub as a test uses them: against one port, with one protocol version. */
import { spawn } from 'node:child_process'
import os from 'node:os'
import assert from 'node:assert/strict'
import { findDebianProgram } from '../../../tools/debian.ts'
import { BARE_ENV, run, Running, type Finally } from '../programs.ts'

export type MqttVersion = 'mqttv311' | 'mqttv5'

export class MosquittoClients {
  readonly #t: Finally
  readonly #port: number
  readonly version: MqttVersion
  constructor(t: Finally, port: number, version: MqttVersion) {
    this.#t = t
    this.#port = port
    this.version = version
  }

  get #common(): string[] {
    return ['-h', '127.0.0.1', '-p', String(this.#port), '-V', this.version]
  }

  /**
   * Resolves when mosquitto_pub has ended, which for QoS 1 and 2 is after the acknowledgement; fails unless it ended
   * with 0.
   */
  async pub(args: readonly string[], input?: string | Buffer): Promise<void> {
    const { code, err } = await run(
      findDebianProgram('mosquittoClients'),
      [...this.#common, ...args],
      input === undefined ? {} : { input },
    )
    assert.equal(code, 0, `mosquitto_pub ${args.join(' ')}: ${err}`)
  }
  /**
   * A subscriber that is already subscribed. Its lines are what `-F` prints, `%r %q %t %p` unless args say otherwise.
   */
  async sub(args: readonly string[]): Promise<Subscriber> {
    const program = findDebianProgram('mosquittoClients').replace(/pub$/, 'sub')
    // Into a pipe it would print by the block.
    const child = spawn('stdbuf', ['-oL', program, ...this.#common, '-d', '-F', '=%r %q %t %p', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: os.tmpdir(),
      env: BARE_ENV,
    })
    const subscriber = new Subscriber(new Running('mosquitto_sub', child))
    this.#t.after(async () => {
      await subscriber.program.stop('SIGKILL')
    })
    await subscriber.program.until('it is subscribed', () => subscriber.program.log.includes('Subscribed (mid'))
    return subscriber
  }
  /** Makes a session that stays, subscribes and leaves. */
  async leaveSession(id: string, topic: string, qos: number): Promise<void> {
    const { code, err } = await run(findDebianProgram('mosquittoClients').replace(/pub$/, 'sub'), [
      ...this.#common,
      ...this.#session(id),
      '-t',
      topic,
      '-q',
      String(qos),
      '-E',
    ])
    assert.equal(code, 0, err)
  }
  /** Comes back to a session. */
  returnTo(id: string, topic: string, qos: number): Promise<Subscriber> {
    return this.sub([...this.#session(id), '-t', topic, '-q', String(qos)])
  }
  #session(id: string): string[] {
    return ['-c', '-i', id, ...(this.version === 'mqttv5' ? ['-x', '3600'] : [])]
  }
}

export class Subscriber {
  readonly program: Running
  constructor(program: Running) {
    this.program = program
  }
  /** What has come, without mosquitto_sub's own debug lines. */
  get lines(): readonly string[] {
    return this.program.log
      .split('\n')
      .filter((l) => l.startsWith('='))
      .map((l) => l.slice(1))
  }
  /** The lines once there are so many. */
  async take(count: number): Promise<readonly string[]> {
    await this.program.until(
      `${count} messages (${this.lines.length} are there)`,
      () => this.lines.length >= count,
      30_000,
    )
    return this.lines
  }
}
