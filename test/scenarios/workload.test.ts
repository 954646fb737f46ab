/**
 * A machine that istioctl has prepared: its five files, the way to istiod by `hosts`, and word of the workload's
 * health.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import path from 'node:path'
import { runCli } from '../../agent/cli/program.ts'
import type { AgentStatus } from '../../agent/admin/status.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { sample } from '../helpers/control-plane/resources.ts'
import { ControlPlane } from './control-plane.ts'
import { ask, TestAgent, until, type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

/** An application that answers every request with `status`. */
async function application(t: Finally): Promise<{ status: number; readonly port: number }> {
  const app = { status: 200, port: 0 }
  const server = http
    .createServer((_, res) => {
      res.statusCode = app.status
      res.end()
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  app.port = (server.address() as net.AddressInfo).port
  t.after(() => {
    server.close()
  })
  return app
}

/** istioctl's sample, with the control plane and the probe of the test. */
function istioFolder(t: Finally, plane: ControlPlane, probe: string): string {
  const folder = temporaryFolder(t)
  const sample = path.join(import.meta.dirname, '../golden/istio-folder/auto-registered')
  for (const name of ['cluster.env', 'istio-token']) fs.copyFileSync(path.join(sample, name), path.join(folder, name))
  fs.copyFileSync(path.join(plane.folder, 'root-cert.pem'), path.join(folder, 'root-cert.pem'))
  fs.writeFileSync(path.join(folder, 'hosts'), '127.0.0.1 istiod.istio-system.svc\n')
  fs.writeFileSync(
    path.join(folder, 'mesh.yaml'),
    `defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:${plane.port}\n  readinessProbe: ${probe}\n`,
  )
  return folder
}

test("meshlet run --istio: connected by the address in hosts under istiod's name, health told at every change and at the end", async (t) => {
  const plane = await ControlPlane.start(t)
  plane.push(sample({ '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration', name: 'http_proxy' }))
  const app = await application(t)
  const [admin = 0, proxy = 0] = await freePorts(2)
  const folder = istioFolder(t, plane, `{httpGet: {port: ${app.port}}, periodSeconds: 1, timeoutSeconds: 1}`)
  const over = path.join(folder, 'agent.yaml')
  fs.writeFileSync(
    over,
    `state: ${folder}/state\nadmin: {port: ${admin}}\nlisteners: [{name: p, kind: http_proxy, port: ${proxy}}]\nidentity: {folder: ${plane.folder}}\ndns: {port: 0}\nlog: {level: fatal}\n`,
  )
  const stop = Promise.withResolvers<string>()
  t.after(() => {
    stop.resolve('the test is over')
  })
  const errors: string[] = []
  const run = runCli(['run', '--istio', folder, '--config', over], {
    out: () => {},
    err: (text) => {
      errors.push(text)
    },
    env: { ISTIO_META_SITE: 'north' },
    standardInput: async () => Buffer.alloc(0),
    stopRequested: () => stop.promise,
    settled: () => {
      /* memory is no matter here */
    },
  })
  await until('health is told', () => {
    assert.deepEqual(errors, [])
    return plane.health.length === 1
  })
  const [metadata = {}] = plane.nodes
  assert.deepEqual(
    [metadata['AUTO_REGISTER_GROUP'], metadata['NETWORK'], metadata['SITE'], metadata['HTTP_PROXY_PORT']],
    ['gw', 'site-1', 'north', String(proxy)],
  )
  assert.deepEqual(
    (metadata['PROXY_CONFIG'] as Record<string, Record<string, unknown>>)['readinessProbe']?.['httpGet'],
    { port: app.port, path: '/', scheme: 'HTTP', httpHeaders: [] },
  )

  app.status = 503
  await until('it is told as unhealthy', () => plane.health.length === 2)
  const status = JSON.parse((await ask(admin, '/status')).body) as AgentStatus
  assert.deepEqual(
    [status.workload?.state, status.workload?.reason, status.workload?.told],
    ['unhealthy', 'the status is 503', true],
  )
  assert.deepEqual(
    status.problems.map((p) => p.code),
    ['MESH_PROBE_FAILED'],
  )
  app.status = 200
  await until('it is told as healthy again', () => plane.health.length === 3)
  stop.resolve('test')
  assert.equal(await run, 0)
  await until('the end is told', () => plane.health.length === 4)
  assert.deepEqual(plane.health, ['healthy', 'the status is 503', 'healthy', 'meshlet drains'])
})

test('a node without a WorkloadEntry asks its workload, and tells nobody', async (t) => {
  const plane = await ControlPlane.start(t)
  const app = await application(t)
  const edge = new TestAgent(t, `${plane.yaml}readinessProbe: {tcpSocket: {port: ${app.port}}}\n`)
  await edge.start()
  await edge.connected()
  await until('the workload is asked', () => edge.status().workload?.state === 'healthy')
  assert.deepEqual([edge.status().workload?.told, plane.health], [false, []])
  assert.match(
    (await edge.ask('/status?format=text')).body,
    /^workload +tcp 127\.0\.0\.1:\d+: healthy for \d+ s, not told to the control plane$/m,
  )
})
