/**
 * 400 days without power, and a clock that shows 1970: the mesh of today is reached, certified and served without
 * anybody's help.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { systemClock } from '../../../core/os/clock.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { testHub } from '../../hub/start-hub.ts'
import { problem } from '../cli.ts'
import { controlYaml, TestAgent, until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const DAY_MS = 86_400_000

test('400 days off and a clock at 1970: a new certificate and the configuration come by themselves', async (t) => {
  // OpenSSL knows the real clock only; so the world is 400 days ahead of it, and everything that the hub signs is not
  // valid yet by it.
  const trueMs = (): number => Date.now() + 400 * DAY_MS
  const hub = await testHub(t, '', { clock: { ...systemClock, wallMs: trueMs } })
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  fs.writeFileSync(
    `${folder}/edge.token`,
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })).token,
  )
  const agent = new TestAgent(
    t,
    `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(folder, 'edge', hub.hub.port)}`,
  )
  const startedMs = Date.now()
  agent.over = {
    clock: { ...systemClock, wallMs: () => 60_000 + Date.now() - startedMs },
    random: { float: () => Math.random() / 50 },
  }
  agent.builtAtMs = Date.now() - 30 * DAY_MS
  // As it was when the power went.
  fs.mkdirSync(`${agent.folder}/state/identity`, { recursive: true })
  const { keyPem, chainPem, rootsPem } = testCa('demo.mesh').issue('edge', 'gateway')
  fs.writeFileSync(`${agent.folder}/state/identity/identity.json`, JSON.stringify({ keyPem, chainPem, rootsPem }))
  fs.writeFileSync(
    `${agent.folder}/state/identity/time-floor.json`,
    JSON.stringify({ version: 1, notBefore: new Date(startedMs).toISOString() }),
  )

  await agent.start()
  const before = agent.status().certificate!
  assert.ok(before.expiresInSec > 0 && before.expiresInSec <= 86_400, 'as far as it can know, it is still good')
  await until('a certificate of today', () => Date.parse(agent.status().certificate!.notAfter) > trueMs())
  await agent.connected()
  const { text, remedy } = await problem(agent, 'MESH_CLOCK_WRONG')
  assert.match(text, /^the clock shows 1970-01-01T00:0/)
  assert.match(remedy, /Set the clock\. Certificates are checked by the later time until then/)
  assert.equal(agent.agent.metrics.total('mesh_identity_clock_wrong'), 1)
  assert.ok(agent.status().certificate!.expiresInSec > 80_000)
  assert.ok(agent.lines.filter((l) => l['evt'] === 'identity.new').length <= 2, 'no storm')

  // It remembers.
  await agent.stop()
  const kept = JSON.parse(fs.readFileSync(`${agent.folder}/state/identity/time-floor.json`, 'utf8')) as {
    notBefore: string
  }
  assert.ok(Math.abs(Date.parse(kept.notBefore) - trueMs()) < 10 * 60_000, kept.notBefore)
})
