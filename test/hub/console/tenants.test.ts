/**
 * Operators of one namespace against everything of another's, over every route that the OpenAPI document names: what is
 * asked for is made of the document, so a route that is added is asked, too.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Role } from '../../../hub/registry/console-sessions.ts'
import { KEY_HOLDER } from '../../../hub/registry/enrollments.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { consoleRig, type ConsoleRig } from './console-rig.ts'

/** Stands in everything that the other tenant has. */
const MARK = 'theirsecret'
type Parameter = { readonly name: string; readonly in: string; readonly schema: Schema }
type Schema = {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly minLength?: number
  readonly pattern?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly minItems?: number
  readonly anyOf?: readonly Schema[]
}
type Operation = {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
}

/** Devices, tokens, reports, requests and audit entries of `edge` that all bear the mark. @returns what names them */
async function seedTheirs({ hub }: ConsoleRig): Promise<readonly string[]> {
  const { registry } = hub
  const name = `gw-${MARK}`
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: { site: MARK }, address: `10.0.0.1` }
  const nowMs = Date.now()
  await registry.enrollments.enroll({ ...of, name, keyId: `key-${MARK}` }, nowMs)
  await registry.enrollments.ask({ ...of, name: `new-${MARK}`, keyId: `k2-${MARK}`, why: MARK, askedMs: nowMs })
  await registry.enrollments.markCloned(name, { addresses: MARK, nowMs, state: 'active' })
  await registry.addCertificate({
    serial: `5e${MARK}`,
    spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gw',
    jti: null,
    device: `${KEY_HOLDER}key-${MARK}`,
    ip: MARK,
    issuedMs: nowMs,
    notAfterMs: nowMs + 100_000,
  })
  await registry.claimName({
    name,
    nodeId: `sidecar~10.0.0.1~${name}.edge~edge.svc`,
    spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gw',
    ip: '10.0.0.1',
    holder: `${KEY_HOLDER}key-${MARK}`,
    jti: undefined,
    nowMs,
  })
  const report = { ...REPORT, problems: [{ code: 'MESH_CLOCK_WRONG', text: MARK }] }
  const quantities = { ...REPORT.quantities, bytes: [{ purpose: MARK, sent: 1, received: 1 }] }
  await registry.reports.write(
    [{ name, atMs: nowMs, restarts: 0, expected: '', report: { ...report, quantities } }],
    [],
  )
  await registry.deviceEvents.add([{ atMs: nowMs, device: name, event: 'connected', reason: MARK }])
  const { jti } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gw', nodes: `tok-${MARK}` })
  const entry = { atMs: nowMs, actor: `operator:${MARK}`, address: MARK, detail: MARK, namespace: 'edge' }
  await registry.audit.add({ ...entry, event: 'device.revoked', subject: name })
  await registry.audit.add({ ...entry, event: 'rollout.started', subject: MARK, namespace: '' })
  return [name, `new-${MARK}`, jti, MARK]
}

/** A value that the schema takes: the least, or what names something of the others where it is a text. */
function makeValue(schema: Schema, text: string): unknown {
  const one = schema.anyOf?.[0] ?? schema
  if (one.enum) return one.enum[0]
  switch (one.type) {
    case 'integer':
    case 'number':
      return Math.max(1, one.minimum ?? 1)
    case 'boolean':
      return true
    case 'array':
      return Array.from({ length: Math.max(1, one.minItems ?? 0) }, () => makeValue(one.items ?? {}, text))
    case 'object':
      return Object.fromEntries(
        (one.required ?? []).map((key) => [
          key,
          makeValue(one.properties?.[key] ?? {}, key === 'keyId' ? `k2-${MARK}` : text),
        ]),
      )
    case undefined:
    default:
      return text
  }
}

async function askAll(rig: ConsoleRig, cookie: string, texts: readonly string[]) {
  const { body: document } = await rig.ask({ path: '/api/v1/openapi.json' })
  const said: { readonly line: string; readonly asked: string; readonly status: number; readonly text: string }[] = []
  for (const [path, methods] of Object.entries(document['paths'] as Record<string, Record<string, Operation>>))
    for (const [method, operation] of Object.entries(methods)) {
      // Endless, or ends the session that asks.
      if (path === '/api/v1/events' || (path === '/api/v1/session' && method === 'delete')) continue
      for (const text of texts) {
        const parameters = operation.parameters ?? []
        const filled = path.replaceAll(/\{\w+\}/g, encodeURIComponent(text))
        const queries = parameters.filter((p) => p.in === 'query')
        const required = queries.filter((p) => p.name === 'type' || p.name === 'name')
        // Each way to ask by itself, so that none narrows what another would find.
        const ways =
          method === 'get' ? [required, ...queries.map((one) => [...required.filter((r) => r !== one), one])] : [[]]
        for (const way of ways) {
          const query = new URLSearchParams(
            way.map((p) => [p.name, String(makeValue(p.schema, questionOf(p.name, text)))]),
          )
          const sent = `${filled}${query.size > 0 ? `?${query.toString()}` : ''}`
          const schema = Object.values(operation.requestBody?.content ?? {})[0]?.schema
          const body = schema && makeValue(schema, text)
          const { status, text: got } = await rig.ask({ method: method.toUpperCase(), path: sent, body, cookie })
          said.push({ line: `${method} ${sent} ${JSON.stringify(body) ?? ''}`, asked: text, status, text: got })
        }
      }
    }
  return said
}
const questionOf = (name: string, text: string): string =>
  name === 'where' ? `name~'*${text}*' or name!=none` : name === 'labels' ? `site=${MARK}` : text

for (const role of ['viewer', 'operator', 'admin'] satisfies Role[])
  test(`the ${role} of a namespace finds nothing of another's and changes nothing of it, over any route`, async (t) => {
    const rig = await consoleRig(
      t,
      'console: {listen: "127.0.0.1:0", loginsPerMinute: 10000, requestsPerMinute: 1000000}',
    )
    const { registry } = rig.hub
    const texts = await seedTheirs(rig)
    const before = JSON.stringify([await registry.enrollments.all(), await registry.tokens()])
    const lab = await rig.login([{ namespace: 'lab', role }])
    const said = await askAll(rig, lab, texts)
    assert.ok(said.length > 100, String(said.length))
    for (const { line, asked, status, text: got } of said) {
      assert.ok(status < 500, `${line}: ${status} ${got.slice(0, 300)}`)
      // A refusal may name what was asked for.
      const isList = status === 200 && !line.includes('/approve')
      const left = isList ? got : got.replaceAll(asked, '')
      assert.doesNotMatch(left, /theirsecret|"edge"/, line)
    }
    assert.equal(JSON.stringify([await registry.enrollments.all(), await registry.tokens()]), before)
    const found = await askAll(rig, await rig.login([{ namespace: 'edge', role: 'viewer' }]), texts)
    const seen = found.filter(({ status, text }) => status === 200 && text.includes(MARK)).map(({ line }) => line)
    for (const path of [
      'devices',
      'fleet',
      'overview',
      'data-use',
      'enrolment',
      'tokens',
      'audit',
      'audit.csv',
      'enrollments',
      'device-events',
    ])
      assert.ok(
        seen.some((line) => line.startsWith(`get /api/v1/${path} `) || line.startsWith(`get /api/v1/${path}?`)),
        path,
      )
  })

for (const role of ['viewer', 'admin'] satisfies Role[])
  test(`whose device waits for another's name reads nothing of that device: the ${role} of its namespace`, async (t) => {
    const rig = await consoleRig(
      t,
      'console: {listen: "127.0.0.1:0", loginsPerMinute: 10000, requestsPerMinute: 1000000}',
    )
    const [name = ''] = await seedTheirs(rig)
    rig.write(
      'svc.yaml',
      `'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: ${MARK}\nload_assignment: {cluster_name: ${MARK}}\n`,
    )
    await rig.taken()
    const of = { namespace: 'lab', serviceAccount: 'gw', jti: null, labels: {}, address: '10.9.0.1' }
    await rig.hub.registry.enrollments.ask({ ...of, name, keyId: 'k-lab', why: 'taken', askedMs: Date.now() })
    const cookie = await rig.login([{ namespace: 'lab', role }])
    const said = (await askAll(rig, cookie, [name])).filter(({ line }) => /^(get|post) \/api\/v1\/devices\//.test(line))
    assert.ok(said.some(({ line }) => line.includes('/configuration/diff')))
    for (const { line, status } of said)
      assert.ok(status === 404 || status === 403 || status === 400, `${line}: ${status}`)
    // And nobody keeps the others from their own device by waiting for its name.
    const own = await rig.login([{ namespace: 'edge', role: 'operator' }])
    const body = { command: 'status' }
    const asked = await rig.ask({ method: 'POST', path: `/api/v1/devices/${name}/ask`, body, cookie: own })
    assert.notEqual(asked.status, 403)
  })
