/** meshlet as the broker of a site, and a mosquitto that it may be bridged to. */
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../../../tools/debian.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../../package/shipped.ts'
import { type Finally, type Running, start, temporaryFolder } from '../../programs.ts'

type SiteOptions = { readonly mqtt?: string; readonly listener?: string; readonly upstreamPort?: number }
export type SiteBroker = { readonly agent: Agent; readonly port: number }

/**
 * Started, with one listener on the port.
 * @param mqtt lines of agent.yaml
 * @param listener more of the listener
 * @param upstreamPort of the cluster `cloud`
 */
export async function startSiteBroker(
  t: Finally,
  { mqtt = '', listener = 'transport: auto', upstreamPort }: SiteOptions = {},
): Promise<SiteBroker> {
  const [port] = (await freePorts(1)) as [number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}, ${listener}}]\n${mqtt}`),
  )
  writeResources(agent.folder, upstreamPort === undefined ? [] : [staticCluster('cloud', upstreamPort)])
  await agent.start()
  return { agent, port }
}

/** Anybody may connect. What is retained does not outlive it. */
export class Mosquitto {
  readonly port: number
  readonly #t: Finally
  readonly #config: string
  process!: Running

  private constructor(t: Finally, port: number) {
    this.#t = t
    this.port = port
    this.#config = path.join(temporaryFolder(t), 'mosquitto.conf')
    fs.writeFileSync(this.#config, `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`)
  }
  static async start(t: Finally): Promise<Mosquitto> {
    const [port] = (await freePorts(1)) as [number]
    const mosquitto = new Mosquitto(t, port)
    await mosquitto.start()
    return mosquitto
  }
  async start(): Promise<void> {
    this.process = start(this.#t, findDebianProgram('mosquitto'), ['-c', this.#config])
    await this.process.listening(this.port)
  }
}
