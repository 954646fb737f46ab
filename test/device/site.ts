/** A hub and a device with a cable between them, and the runbook typed on them. */
import fs from 'node:fs'
import path from 'node:path'
import type { AgentStatus } from '../../agent/admin/status.ts'
import { distFile } from '../conformance/programs.ts'
import { runbookBlocks } from './runbook.ts'
import { Cable, giveAddress, Machine, takeAddresses, type Finally } from './machine.ts'

const EDGE = path.resolve(import.meta.dirname, '../../deploy/edge')
export const HUB_ADDRESS = '10.1.0.1'
/** The folder of each machine in which the runbook is typed, and where what it needs was put. */
export const DESK = 'srv/desk'
const HOSTS = `127.0.0.1 localhost\n${HUB_ADDRESS} hub.example.org app.example.org broker.example.org\n`

export class Site {
  readonly hub: Machine
  readonly device: Machine
  readonly cable: Cable

  private constructor(hub: Machine, device: Machine) {
    this.hub = hub
    this.device = device
    this.cable = new Cable(hub, device)
    giveAddress(hub, `${HUB_ADDRESS}/24`)
    for (const machine of [hub, device]) {
      for (const name of ['meshlet.cjs', 'meshlet-hub.cjs'] as const) machine.put(distFile(name), `${DESK}/${name}`)
      machine.put(EDGE, DESK)
      machine.write('etc/hosts', HOSTS)
    }
    // A service behind the hub's machine.
    hub.write(
      `${DESK}/app.mjs`,
      `import http from 'node:http'; http.createServer((req, res) => res.end('from the app\\n')).listen(8080)`,
    )
    hub.write(
      'etc/systemd/system/app.service',
      `[Service]\nExecStart=/usr/bin/node /${DESK}/app.mjs\n[Install]\nWantedBy=multi-user.target\n`,
    )
    fs.symlinkSync(
      '/etc/systemd/system/app.service',
      path.join(hub.root, 'etc/systemd/system/multi-user.target.wants/app.service'),
    )
  }

  /**
   * Both machines on, the hub's chapter typed, roots and token carried to the device, which has an address and nothing
   * installed.
   */
  static async withHub(t: Finally): Promise<Site> {
    const site = new Site(Machine.create(t, 'hub'), Machine.create(t, 'edge-1'))
    site.moveTo('10.1.0.2/24')
    await Promise.all([site.hub.boot(), site.device.boot()])
    await site.type('A hub')
    for (const file of ['roots.pem', 'token']) site.device.put(path.join(site.hub.root, DESK, file), `${DESK}/${file}`)
    return site
  }
  /** And the device installed and joined. */
  static async joined(t: Finally, way: 'token-file' | 'standard-input' = 'token-file'): Promise<Site> {
    const site = await Site.withHub(t)
    await site.type('Install')
    await site.type('Join', way)
    await site.device.until('is connected', 'meshlet status || true', /^link .*: connected/m)
    return site
  }

  /** Types the blocks of a section. Rejects with the first that fails. */
  async type(section: string, way = ''): Promise<void> {
    const blocks = runbookBlocks().filter((b) => b.section === section && (b.way === '' || b.way === way))
    if (blocks.length === 0) throw new Error(`the runbook has no blocks under "${section}"`)
    for (const { machine, script } of blocks) await this[machine].must(`cd /${DESK}\n${script}`)
  }

  /** The device's only address from now on, as a DHCP server may decide; '' for none. */
  moveTo(cidr: string): void {
    takeAddresses(this.device)
    if (cidr !== '') giveAddress(this.device, cidr)
  }

  async status(): Promise<AgentStatus> {
    return JSON.parse((await this.device.run('meshlet status --json')).out) as AgentStatus
  }
  /** Whether what stands on the device's disk is served: HTTP by its route, MQTT from one client to another. */
  async serves(withinMs = 30_000): Promise<void> {
    await this.device.until(
      'is active and ready',
      'systemctl is-active meshlet && meshlet status --ready',
      /^active$/m,
      withinMs,
    )
    await this.device.until(
      'routes',
      'curl -s -o /dev/null -w "%{http_code} %header{x-meshlet-error}" -x http://127.0.0.1:15080 http://app.example.org/',
      /^(200|503 )/,
    )
    await this.device.until(
      'carries MQTT',
      'meshlet mqtt sub -t t -C 1 & sleep 1; meshlet mqtt pub -t t -m through; wait',
      /through/,
    )
  }
  /** From the start of the process to READY=1, as systemd saw them, milliseconds. */
  async readyMs(): Promise<number> {
    const [started, ready] = (
      await this.device.must(
        'systemctl show -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic --value meshlet',
      )
    )
      .trim()
      .split('\n')
      .map(Number)
      .sort((a, b) => a - b)
    return Math.round((ready! - started!) / 1_000)
  }
  /** Through the mesh to the service at the other end of the cable. */
  async reachesApp(): Promise<void> {
    await this.device.until(
      'reaches the app',
      'curl -s -x http://127.0.0.1:15080 http://app.example.org/',
      /from the app/,
    )
  }
  devices(): Promise<string> {
    return this.hub.must('runuser -u meshlet-hub -- meshlet-hub devices')
  }
}
