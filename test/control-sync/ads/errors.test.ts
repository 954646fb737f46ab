import { test } from 'node:test'
import assert from 'node:assert/strict'
import { toControlError, Failures, retryBackoff, retryWaitMs } from '../../../control-sync/ads/errors.ts'

const SHOWN = 'the certificate of spiffe://cluster.local/ns/edge/sa/gateway'
const of = (code: number, details: string): string => {
  const { code: ours, message } = toControlError({ code, details }, 'the configuration stream', 'istiod:15012', SHOWN)
  return `${ours}: ${message}`
}

test('each ending of a call has its own code and says what happened', () => {
  assert.equal(
    of(16, 'authentication failure'),
    `MESH_CONTROL_UNAUTHENTICATED: istiod:15012 does not accept who we are for the configuration stream: authentication failure; it was shown ${SHOWN}`,
  )
  assert.match(
    of(7, 'authorization failed: no identities ([spiffe://x]) matched edge/gateway'),
    /^MESH_CONTROL_FORBIDDEN: .*matched edge\/gateway$/,
  )
  assert.match(of(8, 'request rate limit exceeded'), /^MESH_CONTROL_SLOW_DOWN: /)
  assert.match(of(4, 'x'), /^MESH_CONTROL_TIMEOUT: .*did not answer in time/)
  assert.match(of(1, 'Call cancelled'), /^MESH_CONTROL_UNREACHABLE: .*did not answer/)
  assert.match(of(14, 'Connection dropped'), /^MESH_CONTROL_UNREACHABLE: .*is not reachable .*: Connection dropped$/)
  assert.match(of(3, 'missing node information'), /^MESH_CONTROL_REFUSED: .*: missing node information$/)
  assert.match(of(9, 'auto-register WorkloadGroup edge/gw not found'), /^MESH_CONTROL_REFUSED: .*edge\/gw not found$/)
  assert.match(of(2, 'server is not ready to serve discovery information'), /^MESH_CONTROL_UNREACHABLE: .*is not ready/)
  assert.match(of(2, 'boom'), /^MESH_CONTROL_PROTOCOL: .*gRPC status 2: boom$/)
  assert.match(
    of(12, 'unknown method DeltaAggregatedResources for service x'),
    /^MESH_CONTROL_UNIMPLEMENTED: .*does not know the configuration stream/,
  )
  assert.match(
    of(12, 'grpc: Decompressor is not installed for grpc-encoding "gzip"'),
    /^MESH_CONTROL_COMPRESSION: .*cannot read compressed requests/,
  )
  assert.match(of(8, 'Received message larger than max (5000000 vs. 4194304)'), /^MESH_CONTROL_MESSAGE_SIZE: /)
})
test('TLS: a wrong root, a wrong name and our certificate refused are three things', () => {
  // What a real istiod made of it, Node 26.
  assert.equal(
    of(
      14,
      'No connection established. Last error: Error: self-signed certificate in certificate chain. Resolution note: ',
    ),
    'MESH_CONTROL_TLS: the TLS connection to istiod:15012 failed: self-signed certificate in certificate chain',
  )
  assert.equal(
    of(
      14,
      "No connection established. Last error: Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: Host: other.example.org. is not in the cert's altnames: DNS:istiod.istio-system.svc. Resolution note: ",
    ),
    "MESH_CONTROL_NAME: istiod:15012 is not who it should be: Host: other.example.org. is not in the cert's altnames: DNS:istiod.istio-system.svc",
  )
  assert.equal(
    of(
      14,
      'No connection established. Last error: Error: 40A3B044067F0000:error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:918:SSL alert number 48\n. Resolution note: ',
    ),
    `MESH_CONTROL_UNAUTHENTICATED: istiod:15012 does not accept who we are for the configuration stream: TLS alert "unknown ca"; it was shown ${SHOWN}`,
  )
})
test('a port without TLS is not a matter of roots', () => {
  const said =
    'No connection established. Last error: Error: 40A3B044067F0000:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/openssl/openssl/ssl/record/methods/tlsany_meth.c:84:\n. Resolution note: '
  assert.match(
    of(14, said),
    /^MESH_CONTROL_PLAIN: istiod:15012 answers without TLS where the configuration stream is asked for: .*wrong version number/,
  )
  assert.ok(retryBackoff(toControlError({ code: 14, details: said }, 'x', 'y', SHOWN)).capMs > 60_000)
})
test('refusals that do not pass by asking often are asked rarely', () => {
  for (const code of [16, 7, 9])
    assert.ok(retryBackoff(toControlError({ code, details: '' }, 'x', 'y', SHOWN)).capMs > 60_000)
  assert.ok(retryBackoff(toControlError({ code: 14, details: '' }, 'x', 'y', SHOWN)).capMs <= 30_000)
})
test('who is told to come later waits a second at least, and the longer the more often it is told so', () => {
  const slow = toControlError({ code: 8, details: 'request rate limit exceeded' }, 'x', 'y', SHOWN)
  assert.deepEqual(
    [
      retryWaitMs(slow, 0, { float: () => 0 }),
      retryWaitMs(slow, 0, { float: () => 1 }),
      retryWaitMs(slow, 3, { float: () => 1 }),
      retryWaitMs(slow, 20, { float: () => 1 }),
    ],
    [1_000, 5_000, 33_000, 61_000],
  )
})
test('tries are counted by the kind of failure: a night without a link does not make a refusal that follows it wait for minutes', () => {
  const away = toControlError({ code: 14, details: 'connect ECONNREFUSED' }, 'x', 'y', SHOWN)
  const stranger = toControlError(
    { code: 14, details: 'Last error: Error: self-signed certificate in certificate chain' },
    'x',
    'y',
    SHOWN,
  )
  const refused = toControlError({ code: 16, details: 'authentication failure' }, 'x', 'y', SHOWN)
  const failures = new Failures()
  for (let i = 0; i < 50; i++) failures.add(away)
  assert.deepEqual([failures.of(away), failures.of(stranger)], [50, 0])
  // What changes between two tries that a person must help with is one kind, and kinds that take turns count on.
  failures.add(stranger)
  failures.add(away)
  failures.add(refused)
  assert.deepEqual([failures.of(away), failures.of(stranger), failures.of(refused)], [51, 2, 2])
  failures.forget()
  assert.deepEqual([failures.of(away), failures.of(refused)], [0, 0])
})
