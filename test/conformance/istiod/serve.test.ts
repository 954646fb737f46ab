/** The main way against a real istiod: token, certificate, configuration, traffic; and istiod's own view of it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../programs.ts'
import { App, serviceEntry } from './app.ts'
import { istioctl, proxyStatus } from './istioctl.ts'
import { Istiod } from './istiod.ts'
import { MeshAgent, NODE } from './mesh-agent.ts'

test('enrol, sync, serve', { timeout: 120_000 }, async (t) => {
  const [servicePort] = (await freePorts(1)) as [number]
  const orders = await App.start(t, 'orders')
  const istiod = await Istiod.create(t)
  istiod.write('orders', serviceEntry('orders', { port: servicePort, endpoints: [orders] }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const url = `http://orders.shop.svc.cluster.local:${servicePort}/`

  await t.test('the token became a certificate for the name it stands for', async () => {
    const { certificate } = await edge.status('a certificate', (s) => s.certificate !== undefined)
    assert.equal(certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
    const stored = JSON.parse(fs.readFileSync(path.join(edge.stateFolder, 'identity/identity.json'), 'utf8')) as { chainPem: string; rootsPem: string }
    const pems = stored.chainPem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g) ?? []
    assert.equal(new X509Certificate(stored.rootsPem).fingerprint256, new X509Certificate(istiod.ca.rootPem).fingerprint256)
    assert.ok(new X509Certificate(pems[0]!).checkIssued(new X509Certificate(pems[1]!)), 'leaf, then what signed it')
  })
  await t.test('everything that istiod sends is understood: nothing refused, ignored, blocked or dangling', async () => {
    const s = await edge.status('routes are there', ({ config }) => (config.resources['route tables'] ?? 0) > 0)
    assert.deepEqual(s.problems, [])
    assert.deepEqual(s.config.rejected, [])
    console.log(JSON.stringify(s.config), JSON.stringify(s.listeners))
    console.log(edge.agent.process.log)
  })
  await t.test('a request by mesh name through the explicit proxy, and through the port of the service', async () => {
    assert.equal((await edge.get(url)).body, 'orders')
  })
  await t.test('istiod lists it as synced', async () => {
    const status = await istiod.until('all acknowledged', async () => (await istiod.syncz()).find((s) => s.proxy === 'edge-1.edge' ))
    console.log(JSON.stringify(status), NODE)
    const { code, out, err } = await proxyStatus(t, istiod)
    console.log(code, out, err)
  })
  await t.test('istioctl', async () => {
    const dump = path.join(edge.agent.folder, 'dump.json')
    fs.writeFileSync(dump, (await edge.agent.get('/config_dump'))!.text)
    for (const what of ['listeners', 'clusters', 'routes', 'endpoints', 'secret', 'all', 'bootstrap']) {
      const { code, out, err } = await istioctl(t, ['proxy-config', what, '--file', dump])
      console.log(what, code, out, err)
    }
  })
})
