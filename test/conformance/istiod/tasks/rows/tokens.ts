/** Security: tokens of end users. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { call } from '../mesh/calls.ts'
import { EXTERNAL, JWKS_PORT, SERVICES, urlOf } from '../mesh/services.ts'
import { bearer, ISSUER, JWKS, makeToken } from '../mesh/tokens.ts'
import type { Task } from '../task.ts'

const { httpbin } = SERVICES
const URL = urlOf(httpbin, '/headers')

const requestAuthentication = (more = ''): string => `---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt-example, namespace: default}
spec:
  selector: {matchLabels: {workload: bookinfo}}
  jwtRules:
  - issuer: ${ISSUER}
    jwks: '${JWKS}'
${more}`
const ISSUER_SERVICE = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: issuer, namespace: default}
spec:
  hosts: [issuer.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: ${JWKS_PORT}, name: http, protocol: HTTP}]
  endpoints: [{address: ${EXTERNAL}}]
`
const requireToken = (rules: string): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: require-jwt, namespace: default}
spec:
  selector: {matchLabels: {workload: bookinfo}}
  action: ALLOW
  rules:
${rules}`

export const tokens: readonly Task[] = [
  {
    name: 'JWT token: RequestAuthentication',
    page: 'tasks/security/authentication/authn-policy/#end-user-authentication',
    yaml: requestAuthentication(),
    checks: [
      {
        what: 'no token passes, a good one passes, bad and expired ones get 401',
        run: async () => {
          assert.equal((await call(URL)).status, 200)
          assert.equal((await call(URL, bearer(makeToken()))).status, 200)
          assert.equal((await call(URL, bearer('deadbeef'))).status, 401)
          assert.equal((await call(URL, bearer(makeToken({}, -60)))).status, 401)
          assert.equal((await call(URL, bearer(makeToken({ iss: 'somebody else' })))).status, 401)
        },
      },
      {
        what: 'keys that istiod fetches from the issuer',
        run: async (mesh) => {
          const server = http.createServer((_, res) => res.end(JWKS)).listen(0, '127.0.0.1')
          await once(server, 'listening')
          try {
            const { port } = server.address() as AddressInfo
            const uri = `http://127.0.0.1:${port}/jwks`
            await mesh.set({ yaml: requestAuthentication().replace(/jwks: .*/, `jwksUri: ${uri}`) })
            assert.equal((await call(URL, bearer(makeToken()))).status, 200)
            assert.equal((await call(URL, bearer('deadbeef'))).status, 401)
          } finally {
            server.closeAllConnections()
            server.close()
          }
        },
      },
      {
        what: 'keys that the node fetches from the issuer itself, whom the service in the mesh stands for',
        yaml: `${requestAuthentication().replace(/jwks: .*/, `jwksUri: http://issuer.test:${JWKS_PORT}/jwks`)}${ISSUER_SERVICE}`,
        run: async (mesh) => {
          const fetched = await mesh.eventually(
            () => call(URL, bearer(makeToken())),
            ({ status }) => status === 200,
            ({ status }) => status,
          )
          assert.equal(fetched, 200)
          assert.equal((await call(URL, bearer('deadbeef'))).status, 401)
          assert.equal((await call(URL, bearer(makeToken({}, -60)))).status, 401)
          assert.deepEqual([...new Set((await mesh.seen('jwks')).map((s) => s.url))], ['/jwks'])
        },
      },
      {
        what: 'with a policy that asks for a request principal, no token gets 403, on that path alone',
        yaml:
          requestAuthentication() +
          requireToken(`  - from: [{source: {requestPrincipals: ["${ISSUER}/${ISSUER}"]}}]
  - to: [{operation: {notPaths: ["/headers"]}}]
`),
        run: async () => {
          assert.equal((await call(URL, bearer(makeToken()))).status, 200)
          assert.equal((await call(URL)).status, 403)
          assert.equal((await call(urlOf(httpbin, '/ip'))).status, 200)
        },
      },
    ],
  },
  {
    name: 'JWT token: groups, claims to headers, places',
    page: 'tasks/security/authorization/authz-jwt/',
    yaml:
      requestAuthentication(`    outputClaimToHeaders: [{header: x-jwt-claim-foo, claim: foo}]
    fromHeaders: [{name: x-jwt-token}]
    fromParams: [token]
    fromCookies: [auth-token]
    forwardOriginalToken: true
`) +
      requireToken(`  - from: [{source: {requestPrincipals: ["*"]}}]
    when: [{key: "request.auth.claims[groups]", values: [group1]}]
`),
    checks: [
      {
        what: 'a token with group1 passes, one without gets 403',
        run: async () => {
          const token = makeToken({ groups: ['group1', 'group2'], foo: 'bar' })
          const { status, seen } = await call(URL, { headers: { 'x-jwt-token': token } })
          assert.deepEqual(
            [status, seen?.headers['x-jwt-claim-foo'], seen?.headers['x-jwt-token']],
            [200, 'bar', token],
          )
          assert.equal((await call(`${URL}?token=${token}`)).status, 200)
          assert.equal((await call(URL, { headers: { cookie: `auth-token=${token}` } })).status, 200)
          assert.equal((await call(URL, { headers: { 'x-jwt-token': makeToken({ groups: ['group2'] }) } })).status, 403)
          assert.equal((await call(URL)).status, 403)
        },
      },
      {
        what: 'a client cannot say a claim itself',
        yaml: requestAuthentication('    outputClaimToHeaders: [{header: x-jwt-claim-foo, claim: foo}]\n'),
        run: async () => {
          const { seen } = await call(URL, { headers: { 'x-jwt-claim-foo': 'mine' } })
          assert.equal(seen?.headers['x-jwt-claim-foo'], undefined)
        },
      },
    ],
  },
]
