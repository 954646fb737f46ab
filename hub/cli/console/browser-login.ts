/**
 * `meshlet-hub login --hub --oidc`: somebody logs in at the issuer of the console in a browser of this machine, and the
 * browser brings a code to a port of loopback (RFC 8252 §7.3). The code is good for one session, for who holds the
 * verifier (RFC 7636), which never leaves this process but for the hub.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { toPrintable } from '../../../core/printable.ts'
import { deriveLoginCode } from '../../console/oidc/consent.ts'
import type { CliLogin } from '../../console/schemas.ts'
import type { Io } from '../io.ts'
import type { HubClient } from './client.ts'

/** As long as the hub keeps a login that is under way. */
const WAIT_MS = 600_000
const MAX_HEAD_BYTES = 16_384
const MAX_REASON_CHARS = 64

/** Rejects with MESH_HUB_SESSION, and as HubClient.ask. */
export async function logInByBrowser(
  {
    client,
    clock,
    io,
  }: { readonly client: HubClient; readonly clock: Clock; readonly io: Pick<Io, 'err' | 'hasBrowser'> },
  ask: (body: { readonly token: string; readonly verifier: string }) => Promise<CliLogin>,
): Promise<CliLogin> {
  const verifier = randomBytes(32).toString('base64url')
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const { port, answer, close } = await listen(challenge)
  const late = clock.after(WAIT_MS, () =>
    close(new MeshError('MESH_HUB_SESSION', 'nobody has logged in within ten minutes')),
  )
  try {
    io.err(`open in a browser on this machine: ${client.hub}/login/oidc?port=${port}&challenge=${challenge}\n`)
    io.err(`its page must show ${deriveLoginCode(challenge)} before you confirm\n`)
    return await ask({ token: await answer, verifier })
  } finally {
    late.cancel()
    close()
  }
}

/** Waits for the browser, which alone knows the path beside this process. */
async function listen(path: string): Promise<{
  readonly port: number
  /** The code. Rejects with MESH_HUB_SESSION. */
  readonly answer: Promise<string>
  readonly close: (reason?: MeshError) => void
}> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  promise.catch(doNothing)
  const answer = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const url = URL.parse(request.url ?? '', 'http://127.0.0.1')
    const [code, refused] = [url?.searchParams.get('code'), url?.searchParams.get('refused')]
    const isOurs = url?.pathname === `/${path}` && typeof (code ?? refused) === 'string'
    const outcome = code ? 'You are logged in' : 'The login was refused'
    response
      .writeHead(isOurs ? 200 : 404, { 'content-type': 'text/plain', connection: 'close' })
      .end(isOurs ? `${outcome}: back to the terminal.\n` : 'Nothing is here.\n')
    if (!isOurs) return
    if (code) resolve(code)
    else reject(explainRefused(refused!))
  }
  const server = http.createServer({ maxHeaderSize: MAX_HEAD_BYTES }, guard('hub', reject, answer))
  server.on('error', guard('hub', reject, reject))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    answer: promise,
    close: (reason) => {
      if (reason) reject(reason)
      server.close()
      server.closeIdleConnections()
    },
  }
}

function explainRefused(code: string): MeshError {
  const shown = toPrintable(code.slice(0, MAX_REASON_CHARS))
  const why = code.startsWith('MESH_') ? `the hub refuses the login: ${shown}; its log says why` : `refused ${shown}`
  return new MeshError('MESH_HUB_SESSION', why)
}
