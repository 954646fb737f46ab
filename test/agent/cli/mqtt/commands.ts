/** `meshlet mqtt …` against an agent of this process. */
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { goesOn, meshlet, type Said } from '../../../scenarios/cli.ts'
import { TestAgent, type Finally } from '../../../scenarios/site.ts'

export class MqttCommands {
  readonly agent: TestAgent
  constructor(agent: TestAgent) {
    this.agent = agent
  }
  static async start(t: Finally, mqtt = ''): Promise<MqttCommands> {
    const agent = new TestAgent(
      t,
      `directory: ${temporaryFolder(t)}\nlisteners: [{name: mqtt, kind: mqtt, port: 0}]\n${mqtt}`,
    )
    await agent.start()
    return new MqttCommands(agent)
  }
  run(
    verb: 'pub' | 'sub' | 'rr',
    args: readonly string[],
    o: { input?: string; env?: Record<string, string> } = {},
  ): Promise<Said> {
    const port = String(this.agent.port('mqtt'))
    return meshlet(['mqtt', verb, '-h', '127.0.0.1', '-p', port, ...args], o.input, {
      stopRequested: goesOn,
      env: o.env ?? {},
    })
  }
  /** Published while `topic` is subscribed to: what a subscriber printed. */
  async heard(args: readonly string[], publish: () => Promise<unknown>): Promise<Said> {
    const before = this.agent.agent.metrics.total('mesh_mqtt_connects_total', { outcome: 'accepted' })
    const heard = this.run('sub', [...args, '-i', 'hears'])
    // Its SUBSCRIBE acts before what is published after PUBACK of a retained mark.
    while (this.agent.agent.metrics.total('mesh_mqtt_connects_total', { outcome: 'accepted' }) === before)
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    await publish()
    return heard
  }
}
