/**
 * `meshlet-hub login --hub --device-code`: somebody logs in at the issuer of the console in a browser of any machine, and
 * types there what the terminal shows (RFC 8628). The hub asks the issuer; this asks the hub.
 */
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { toPrintable } from '../../../core/printable.ts'
import { deviceLogin, deviceLoginAnswer, type CliLogin } from '../../console/schemas.ts'
import type { Io } from '../io.ts'
import type { HubClient } from './client.ts'

/** RFC 8628 §3.5: so much longer from then on. */
const SLOWER_SEC = 5
/** The hub, or the way to it, may be away for a while: the login goes on. */
const PASSING = new Set(['MESH_HUB_UNREACHABLE', 'MESH_CONTROL_SLOW_DOWN'])

/** Rejects with MESH_HUB_SESSION (nobody has confirmed), MESH_CONSOLE_NOT_FOUND (no such login), and as HubClient.ask. */
export async function logInByDevice({
  client,
  clock,
  io,
}: {
  readonly client: Pick<HubClient, 'ask'>
  readonly clock: Clock
  readonly io: Pick<Io, 'err'>
}): Promise<CliLogin> {
  const begun = await client.ask({ method: 'POST', path: 'login/device', answer: deviceLogin })
  const code = toPrintable(begun.userCode)
  io.err(`open in a browser, on any machine: ${toPrintable(begun.verificationUri)}\nand enter there: ${code}\n`)
  if (begun.verificationUriComplete !== undefined)
    io.err(`or open ${toPrintable(begun.verificationUriComplete)}, and confirm only if it shows ${code}\n`)
  const untilMs = clock.monotonicMs() + begun.expiresSec * 1_000
  let { intervalSec } = begun
  for (;;) {
    await clock.sleep(intervalSec * 1_000)
    if (clock.monotonicMs() >= untilMs)
      throw new MeshError('MESH_HUB_SESSION', 'nobody has confirmed the login in time')
    const { waits, login } = await askOnce(client, begun.flow)
    if (login) return login
    if (waits === 'slow_down') intervalSec += SLOWER_SEC
  }
}

async function askOnce(
  client: Pick<HubClient, 'ask'>,
  flow: string,
): Promise<{ readonly waits?: string | undefined; readonly login?: CliLogin | undefined }> {
  try {
    const asked = { method: 'POST', path: 'login/device/session', body: { flow }, answer: deviceLoginAnswer } as const
    return await client.ask(asked)
  } catch (thrown) {
    if (thrown instanceof MeshError && PASSING.has(thrown.code)) return { waits: 'slow_down' }
    throw thrown
  }
}
