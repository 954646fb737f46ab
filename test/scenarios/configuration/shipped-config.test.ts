/** deploy/edge/agent.yaml as a person finds it beside the token and the roots, outside of the service. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { testHub } from '../../hub/start-hub.ts'
import { TRUST_DOMAIN } from '../../../demo/resources.ts'
import { meshlet } from '../cli.ts'
import { type Finally } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const SHIPPED = fs.readFileSync(path.resolve(import.meta.dirname, '../../../deploy/edge/agent.yaml'), 'utf8')

/** /etc/meshlet of the runbook. */
function installed(
  t: Finally,
  hub: { readonly port: number; readonly rootsPem: string },
): { etc: string; file: string } {
  const etc = temporaryFolder(t)
  const file = path.join(etc, 'agent.yaml')
  fs.writeFileSync(path.join(etc, 'roots.pem'), hub.rootsPem)
  fs.writeFileSync(
    file,
    SHIPPED.replace(
      'istiod.istio-system.svc:15012',
      `127.0.0.1:${hub.port}\n  serverName: hub.${TRUST_DOMAIN}`,
    ).replace('/var/lib/meshlet', `${etc}/state`),
  )
  return { etc, file }
}

test("config check and join --token - work on it as it stands, without systemd's folder and without a token file", async (t) => {
  const { hub } = await testHub(t)
  const { etc, file } = installed(t, hub)
  const before = await meshlet(['config', 'check', '-c', file])
  assert.deepEqual([before.code, before.err], [0, ''], before.out)
  assert.match(
    before.out,
    new RegExp(`To be seen to:\n {2}control\\.token: there is no file ${etc}/token; .*meshlet join --token`),
  )
  const { token } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'edge-1' })
  const joined = await meshlet(['join', '-c', file, '--token', '-'], `${token}\n`)
  assert.deepEqual([joined.code, joined.err], [0, ''])
  assert.match(joined.out, /^joined as spiffe:\/\/.*\/ns\/edge\/sa\/gateway/)
  assert.equal(fs.statSync(`${etc}/state/identity/identity.json`).mode & 0o777, 0o600)
})
test('config check tells of ports that cannot be open together, and of what the device has to have', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'agent.yaml')
  fs.mkdirSync(`${folder}/resources`)
  fs.writeFileSync(
    file,
    `directory: ${folder}/resources
listeners:
- {name: any, kind: mqtt, address: 0.0.0.0, port: 1883}
- {name: same, kind: mqtt, port: 1883}
- {name: admin, kind: mqtt, port: 15000}
- {name: far, kind: mqtt, address: 192.0.2.77, port: 8883}
- {name: low, kind: mqtt, port: 443}
dns: {port: 15000}
`,
  )
  const { code, out } = await meshlet(['config', 'check', '-c', file, '--json'])
  const { mistakes, notes } = JSON.parse(out) as { mistakes: string[]; notes: string[] }
  assert.equal(code, 2)
  assert.deepEqual(mistakes, [
    'listeners.same: the port 127.0.0.1:1883 is that of listeners.any',
    'admin: the port 127.0.0.1:15000 is that of listeners.admin',
    'dns: the port 127.0.0.1:15000 is that of listeners.admin',
    'dns: the port 127.0.0.1:15000 is that of admin',
  ])
  assert.ok(
    notes.some((n) => n.startsWith('listeners.far: this machine does not have the address 192.0.2.77')),
    notes.join('\n'),
  )
  const from = Number(fs.readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
  assert.equal(
    notes.some((n) => n.startsWith('listeners.low: ports below')),
    from > 443,
  )
})
