/** Traffic management: what is outside of the mesh. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { call, callTls, lookUp, talk } from '../mesh/calls.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { EXTERNAL, EXTERNAL_TCP_PORT, EXTERNAL_TWO, hostOf, SERVICES } from '../mesh/services.ts'
import type { Check, Task } from '../task.ts'

const REGISTRY_ONLY = 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n'
const URL = 'http://external.test/'

/** @param ports YAML of its ports, @param more further lines of its spec */
const external = (host: string, resolution: string, ports: string, more = ''): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: curl}
spec:
  hosts: ["${host}"]
  exportTo: ["."]
  location: MESH_EXTERNAL
  resolution: ${resolution}
  ports: [${ports}]
${more}`
const HTTP = '{number: 80, name: http, protocol: HTTP}'
const TLS = '{number: 443, name: tls, protocol: TLS}'
const TCP = `{number: ${EXTERNAL_TCP_PORT}, name: tcp, protocol: TCP}`

const originate = (tlsSettings: string): string => `${external(
  'external.test',
  'DNS',
  '{number: 80, name: http, protocol: HTTP, targetPort: 443}',
)}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: external, namespace: curl}
spec:
  host: external.test
  exportTo: ["."]
  trafficPolicy:
    portLevelSettings: [{port: {number: 80}, tls: {${tlsSettings}}}]
`

/** Settings that name files, which only the running mesh knows. */
async function originateWith(mesh: Mesh, settings: (file: (name: string) => string) => string): Promise<void> {
  await mesh.set({
    yaml: originate(settings((name) => path.join(mesh.external.folder, name))),
    settings: REGISTRY_ONLY,
  })
}

const serviceEntries: readonly Check[] = [
  {
    what: 'DNS, with a timeout of its VirtualService',
    yaml: `${external('external.test', 'DNS', HTTP)}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: external, namespace: curl}
spec:
  hosts: [external.test]
  http: [{timeout: 0.3s, route: [{destination: {host: external.test}}]}]
`,
    run: async () => {
      const answer = await call(URL)
      assert.deepEqual(
        [answer.status, answer.app, answer.seen?.headers['host']],
        [200, 'external', 'external.test'],
        answer.body,
      )
      assert.equal((await call(`${URL}?delay=2000`)).status, 504)
    },
  },
  {
    what: 'STATIC',
    yaml: external(
      'static.test',
      'STATIC',
      `${HTTP}, ${TCP}`,
      `  addresses: [10.96.8.1]\n  endpoints: [{address: ${EXTERNAL_TWO}}]\n`,
    ),
    run: async () => {
      assert.equal((await call('http://static.test/')).app, 'external-two')
      assert.equal(await talk('static.test', EXTERNAL_TCP_PORT, 'x\n'), 'external-two-tcp x\n')
    },
  },
  {
    what: 'NONE: HTTP goes where it was going',
    yaml: external('anywhere.test', 'NONE', HTTP),
    run: async () => {
      assert.equal((await call('http://anywhere.test/', { to: EXTERNAL })).app, 'external')
      assert.equal((await call('http://elsewhere.test/', { to: EXTERNAL })).status, 502)
    },
  },
  {
    what: 'NONE with a range of addresses, TCP',
    yaml: external('range.test', 'NONE', TCP, `  addresses: [${EXTERNAL}/32]\n`),
    run: async () => {
      assert.equal(await talk(EXTERNAL, EXTERNAL_TCP_PORT, 'x\n'), 'external-tcp x\n')
      assert.equal(await talk(EXTERNAL_TWO, EXTERNAL_TCP_PORT, 'x\n'), '')
    },
  },
  {
    what: 'a wildcard of TLS, by SNI',
    yaml: external('*.wild.test', 'NONE', TLS),
    run: async () => {
      assert.equal(await callTls(EXTERNAL, 443, 'www.wild.test'), 'external-tls www.wild.test')
      assert.equal(await callTls(EXTERNAL, 443, 'www.tame.test'), '')
    },
  },
  {
    what: 'the way to an egress gateway',
    yaml: `${external('external.test', 'DNS', HTTP)}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: external, namespace: curl}
spec:
  hosts: [external.test]
  gateways: [mesh]
  http: [{match: [{port: 80}], route: [{destination: {host: ${hostOf(SERVICES.httpbin)}, port: {number: ${SERVICES.httpbin.port}}}}]}]
`,
    run: async () => {
      const { app, seen } = await call(URL)
      assert.deepEqual([app, seen?.headers['host']], ['httpbin-v1', 'external.test'])
      assert.match(
        String(seen?.headers['x-forwarded-client-cert']),
        /URI=spiffe:\/\/cluster.local\/ns\/curl\/sa\/curl$/,
      )
    },
  },
]

export const egress: readonly Task[] = [
  {
    name: 'Accessing external services: ALLOW_ANY, REGISTRY_ONLY',
    page: 'tasks/traffic-management/egress/egress-control/',
    checks: [
      {
        what: 'ALLOW_ANY passes on what the mesh does not know',
        run: async () => {
          assert.equal((await call('http://unknown.test/', { to: EXTERNAL })).app, 'external')
          assert.equal(await talk(EXTERNAL, EXTERNAL_TCP_PORT, 'x\n'), 'external-tcp x\n')
          assert.equal(await callTls(EXTERNAL, 443, 'unknown.test'), 'external-tls unknown.test')
        },
      },
    ],
  },
  {
    name: 'Accessing external services: REGISTRY_ONLY',
    page: 'tasks/traffic-management/egress/egress-control/#change-to-the-blocking-by-default-policy',
    mesh: REGISTRY_ONLY,
    checks: [
      {
        what: 'REGISTRY_ONLY refuses it',
        run: async () => {
          assert.equal((await call('http://unknown.test/', { to: EXTERNAL })).status, 502)
          assert.equal(await talk(EXTERNAL, EXTERNAL_TCP_PORT, 'x\n'), '')
          assert.equal(await callTls(EXTERNAL, 443, 'unknown.test'), '')
        },
      },
    ],
  },
  {
    name: 'ServiceEntry: DNS, STATIC, NONE, ranges, wildcards; egress gateway (client side)',
    page: 'reference/config/networking/service-entry/',
    mesh: REGISTRY_ONLY,
    checks: serviceEntries,
  },
  {
    name: 'ServiceEntry DNS where /etc/resolv.conf names the own DNS proxy',
    page: 'ops/configuration/traffic-management/dns-proxy/',
    mesh: REGISTRY_ONLY,
    checks: [
      {
        what: 'the endpoint is what resolvers outside say, not the own address of the service',
        yaml: external('www.looped.test', 'DNS', HTTP),
        run: async () => {
          assert.match(String(await lookUp('www.looped.test')), /^240\.240\./)
          assert.equal((await call('http://www.looped.test/')).app, 'external')
        },
      },
    ],
  },
  {
    name: 'Wildcard hosts with DYNAMIC_DNS',
    page: 'tasks/traffic-management/egress/wildcard-egress-hosts/',
    mesh: REGISTRY_ONLY,
    checks: [
      {
        what: 'each host is resolved when it is asked for',
        yaml: external('*.wild.test', 'DYNAMIC_DNS', HTTP),
        run: async () => {
          assert.equal((await call('http://www.wild.test/', { to: EXTERNAL_TWO })).app, 'external')
          assert.equal((await call('http://other.wild.test/', { to: EXTERNAL })).app, 'external-two')
        },
      },
    ],
  },
  {
    name: 'ALLOW_ANY_DYNAMIC_DNS',
    page: 'reference/config/istio.mesh.v1alpha1/#MeshConfig-OutboundTrafficPolicy',
    mesh: 'outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}\n',
    checks: [
      {
        what: 'what the mesh does not know is resolved by its name',
        differs: 'istiod knows the mode by its name only, and sends what it sends for REGISTRY_ONLY',
        run: async () => {
          assert.equal((await call('http://www.wild.test/', { to: EXTERNAL_TWO })).app, 'external')
        },
      },
    ],
  },
  {
    name: 'Egress TLS origination',
    page: 'tasks/traffic-management/egress/egress-tls-origination/',
    mesh: REGISTRY_ONLY,
    checks: [
      {
        what: 'SIMPLE with the roots of the system; SNI and name are those of the host',
        yaml: originate('mode: SIMPLE'),
        run: async () => {
          const { app, seen, body } = await call(URL)
          assert.deepEqual([app, seen?.sni], ['external-tls', 'external.test'], body)
        },
      },
      {
        what: 'SIMPLE with a file of roots, SNI and names of its own',
        run: async (mesh) => {
          await originateWith(
            mesh,
            (file) =>
              `mode: SIMPLE, caCertificates: ${file('root.pem')}, sni: www.wild.test, subjectAltNames: [www.wild.test]`,
          )
          const { app, seen, body } = await call(URL)
          assert.deepEqual([app, seen?.sni], ['external-tls', 'www.wild.test'], body)
        },
      },
      {
        what: 'a server with another name is refused',
        yaml: originate('mode: SIMPLE, subjectAltNames: [somebody.else]'),
        run: async (mesh) => {
          await mesh.seen('external-tls')
          assert.equal((await call(URL)).status, 503)
          assert.deepEqual(await mesh.seen('external-tls'), [])
        },
      },
      {
        what: 'MUTUAL with files',
        run: async (mesh) => {
          await originateWith(
            mesh,
            (file) =>
              `mode: MUTUAL, caCertificates: ${file('root.pem')}, clientCertificate: ${file('client-chain.pem')}, privateKey: ${file('client-key.pem')}`,
          )
          const { app, seen, body } = await call(URL)
          assert.equal(app, 'external-tls', body)
          assert.match(String(seen?.certificate), /DNS:client\.test/)
        },
      },
      {
        what: 'MUTUAL with a Secret (credentialName), where the rule selects workloads',
        yaml: originate(`mode: MUTUAL, credentialName: client-credential, sni: external.test`).replace(
          '  host:',
          '  workloadSelector: {matchLabels: {app: curl}}\n  host:',
        ),
        run: async (mesh) => {
          const { cert, key, ca } = mesh.external.client
          mesh.istiod.secret('curl', 'client-credential', { 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca })
          await mesh.eventually(
            () => call(URL),
            (a) => a.status === 200,
            (a) => assert.match(String(a.seen?.certificate), /DNS:client\.test/, a.body),
          )
        },
      },
    ],
  },
]
