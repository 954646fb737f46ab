/**
 * Everything for which an istiod turns an agent away: each says what is wrong and what to do, and is over when that is
 * done.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import type { AgentStatus, Problem } from '../../../../agent/admin/status.ts'
import { until } from '../../programs.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'
import { MeshCa } from '../rig/trust.ts'

/** Back-off of refusals begins at some seconds. */
const PATIENCE_MS = 60_000

/**
 * A problem with that code and text, as `meshlet status` prints it. The certificate and the configuration stream are
 * asked for side by side: either may be refused first, the other says the same a moment later in words of its own, and
 * a retry may find something else in between. So all of it is asked again.
 */
async function problem(edge: MeshAgent, code: string, text = /./): Promise<Problem> {
  let seen = ''
  return until(
    `${code} ${text.source}`,
    async () => {
      const { code: exit, out } = await edge.agent.cli([
        'status',
        '--json',
        '--admin',
        `127.0.0.1:${edge.agent.adminPort}`,
      ])
      seen = out
      // 1 also of an agent that does not listen yet, which says nothing here.
      if (exit !== 1 || out === '') return undefined
      const found = (JSON.parse(out) as AgentStatus).problems.find((p) => p.code === code && text.test(p.text))
      if (!found) return undefined
      const { out: printed } = await edge.agent.cli(['status', '--admin', `127.0.0.1:${edge.agent.adminPort}`])
      seen = printed
      return printed.includes(`! ${code}: `) && printed.includes(`\n  ${found.remedy}\n`) ? found : undefined
    },
    PATIENCE_MS,
    () => `${seen}\n${edge.agent.process.log.slice(-3000)}`,
  )
}
const well = (edge: MeshAgent): Promise<AgentStatus> =>
  edge.status(
    'all is well',
    (s) => s.state === 'ready' && s.control.link === 'connected' && s.problems.length === 0,
    PATIENCE_MS,
  )

test('refusals', { timeout: 300_000 }, async (t) => {
  const istiod = await Istiod.create(t)
  await istiod.start()
  await refusedTokens(t, istiod)
  await refusedServers(t, istiod)
  await refusedCertificate(t, istiod)
})

type Options = Parameters<typeof MeshAgent.create>[2]
/** An agent that starts with what `prepare` has made of its files. */
async function launch(
  t: TestContext,
  istiod: Istiod,
  prepare: (edge: MeshAgent) => void,
  o: Options = {},
): Promise<MeshAgent> {
  const edge = await MeshAgent.create(t, istiod, o)
  prepare(edge)
  edge.agent.launch()
  return edge
}

async function refusedTokens(t: TestContext, istiod: Istiod): Promise<void> {
  await t.test('token expired; the next one is read from its file', async () => {
    const token = istiod.token({ ttlSec: -60 })
    const edge = await launch(t, istiod, (e) => {
      e.token(token)
    })
    const { remedy } = await problem(
      edge,
      'MESH_CONTROL_UNAUTHENTICATED',
      /^127\.0\.0\.1:\d+ does not accept who we are for the (certificate: request authenticate failure|configuration stream: authentication failure); it was shown a token for system:serviceaccount:edge:gateway, audience istio-ca, that expired at 20/,
    )
    assert.match(remedy, /Put a new token into the file of control\.token/)
    edge.token(istiod.token())
    await well(edge)
    assert.equal(edge.agent.process.log.includes(token.slice(-40)), false, 'no token in the log')
    await edge.kill()
  })
  await t.test('token for another audience', async () => {
    const edge = await launch(t, istiod, (e) => {
      e.token(istiod.token({ audience: 'somebody-else' }))
    })
    await problem(edge, 'MESH_CONTROL_UNAUTHENTICATED', /audience somebody-else/)
    await edge.kill()
  })
  await t.test('no token and no certificate', async () => {
    const edge = await launch(t, istiod, (e) => {
      e.token('')
    })
    const { remedy } = await problem(edge, 'MESH_NO_IDENTITY', /neither a certificate nor a join token/)
    assert.match(remedy, /control\.token/)
    edge.token(istiod.token())
    await well(edge)
    await edge.kill()
  })
}

async function refusedServers(t: TestContext, istiod: Istiod): Promise<void> {
  await t.test('wrong root; the right one is read from its file', async () => {
    const edge = await launch(t, istiod, (e) => {
      e.roots(new MeshCa().rootPem)
    })
    const { remedy } = await problem(edge, 'MESH_CONTROL_TLS', /self-signed certificate in certificate chain$/)
    assert.match(remedy, /control\.roots/)
    edge.roots(istiod.ca.rootPem)
    await well(edge)
    await edge.kill()
  })
  await t.test('wrong server name', async () => {
    const edge = await launch(
      t,
      istiod,
      () => {
        /* all else is right */
      },
      { serverName: 'other.example.org' },
    )
    const { remedy } = await problem(
      edge,
      'MESH_CONTROL_NAME',
      / is not who it should be: it is for .*DNS:istiod\.istio-system\.svc, not for other\.example\.org$/,
    )
    assert.match(remedy, /control\.serverName/)
    await edge.kill()
    fs.writeFileSync(
      edge.agent.configFile,
      fs.readFileSync(edge.agent.configFile, 'utf8').replace('other.example.org', 'istiod.istio-system.svc'),
    )
    edge.agent.launch()
    await well(edge)
    await edge.kill()
  })
  await t.test(
    'the port without TLS, where istiod serves everybody: not taken, and it is said which port it should be',
    async () => {
      const edge = await launch(
        t,
        istiod,
        () => {
          /* all else is right */
        },
        { address: istiod.plainAddress },
      )
      const { remedy } = await problem(
        edge,
        'MESH_CONTROL_PLAIN',
        /^127\.0\.0\.1:\d+ answers without TLS where the certificate is asked for: /,
      )
      assert.match(remedy, /15012/)
      await edge.kill()
    },
  )
}

async function refusedCertificate(t: TestContext, istiod: Istiod): Promise<void> {
  await t.test('permission denied: the certificate is for another namespace; joining anew puts it right', async () => {
    const edge = await launch(t, istiod, (e) => {
      e.token(istiod.token({ namespace: 'other' }))
    })
    const { remedy } = await problem(
      edge,
      'MESH_CONTROL_FORBIDDEN',
      /no identities \(\[spiffe:\/\/cluster\.local\/ns\/other\/sa\/gateway\]\) matched edge\/gateway$/,
    )
    assert.match(remedy, /control\.token/)
    await edge.kill()
    const { code, err } = await edge.agent.cli(['join', '--config', edge.agent.configFile, '--token', '-'], {
      input: istiod.token(),
    })
    assert.equal(code, 0, err)
    edge.agent.launch()
    assert.equal((await well(edge)).certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
    await edge.kill()
  })
}

test('the root of the mesh is replaced from one moment to the next', { timeout: 180_000 }, async (t) => {
  const [port] = (await freePorts(1)) as [number]
  const orders = await App.start(t, 'orders')
  const istiod = await Istiod.create(t)
  istiod.write('orders', serviceEntry('orders', { port, endpoints: [orders] }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const url = `http://orders.shop.svc.cluster.local:${port}/`
  await edge.until(url, (a) => a.body === 'orders')
  const { serial } = (await edge.status('a certificate')).certificate!
  edge.token('')
  await istiod.stop()
  istiod.ca = new MeshCa()
  istiod.ca.writeTo(istiod.certificatesFolder)
  await istiod.start()

  await t.test('with the old roots the new istiod is a stranger', async () => {
    await problem(edge, 'MESH_CONTROL_TLS')
    assert.equal((await edge.get(url)).body, 'orders')
  })
  await t.test('with the new roots it is our certificate that is refused', async () => {
    edge.roots(istiod.ca.rootPem)
    await problem(
      edge,
      'MESH_CONTROL_UNAUTHENTICATED',
      /TLS alert "unknown ca"; it was shown the certificate of spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway(;|$)/,
    )
    assert.equal((await edge.get(url)).body, 'orders')
  })
  await t.test('with a token it joins by itself and has a certificate of the new root', async () => {
    edge.token(istiod.token())
    const { certificate } = await well(edge)
    assert.notEqual(certificate?.serial, serial)
    const stored = JSON.parse(fs.readFileSync(path.join(edge.stateFolder, 'identity/identity.json'), 'utf8')) as {
      rootsPem: string
    }
    assert.equal(stored.rootsPem, istiod.ca.rootPem)
    assert.equal((await edge.get(url)).body, 'orders')
  })
})
