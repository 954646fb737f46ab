/** Asks a device something over the hub that has its connection, and waits for the answer. */
import { randomUUID } from 'node:crypto'
import { MeshError, type ErrorCode } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import { parseCommandAnswer, type CommandAnswer, type CommandRequest } from '../../model/fleet/command.ts'
import { ASKED_FOR_MS } from '../relay/device-commands.ts'
import { parseSpiffeId } from '../../model/identity.ts'
import type { Registry } from '../registry/registry.ts'

const LOOK_MS = 200

/**
 * Rejects with MESH_CONFIG_INVALID (no such device, or mistakes of its agent.yaml), MESH_COMMAND_AWAY (not connected, or
 * not over the relay), MESH_COMMAND_FORBIDDEN (its agent.yaml does not permit it), MESH_COMMAND_FAILED.
 */
export async function askDevice(
  registry: Registry,
  p: {
    readonly device: string
    readonly request: CommandRequest
    readonly clock: Clock
    /** From where the operator asks; left out: beside the hub. */
    readonly address?: string
    /** False: the same was asked a moment ago, and stands in the audit log. */
    readonly isNoted?: boolean
  },
): Promise<CommandAnswer> {
  const { device, request, clock, address = '', isNoted = true } = p
  const known = await registry.device(device)
  if (!known)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${JSON.stringify(device)} is no device that is known; meshlet-hub devices shows which are`,
    )
  if (known.connectedMs === null) throw new MeshError('MESH_COMMAND_AWAY', `${JSON.stringify(device)} is not connected`)
  const id = randomUUID()
  const askedMs = clock.wallMs()
  if (isNoted)
    await registry.audit.add({
      atMs: askedMs,
      actor: request.operator,
      event: 'device.command',
      subject: device,
      address,
      detail: request.command,
      namespace: parseSpiffeId(known.spiffeUri)?.namespace,
    })
  await registry.deviceCommands.ask({ id, device, request: JSON.stringify(request), askedMs })
  const untilMs = clock.monotonicMs() + ASKED_FOR_MS
  while (clock.monotonicMs() < untilMs) {
    const outcome = await registry.deviceCommands.outcome(id)
    if (outcome?.state === 'done') return readAnswer(device, outcome.answer)
    if (outcome?.state === 'failed') throw readFailure(device, outcome.answer)
    await clock.sleep(LOOK_MS)
  }
  throw new MeshError(
    'MESH_COMMAND_AWAY',
    `no hub had an answer of ${device} within ${ASKED_FOR_MS / 1_000} s: none has a relay connection of it, or it is silent`,
  )
}

function readFailure(device: string, text: string): MeshError {
  const [said = '', ...words] = text.split('\n')
  const code = CODES[said]
  return new MeshError(code ?? 'MESH_COMMAND_FAILED', `${device}: ${code ? '' : `${said}: `}${words.join(' ')}`)
}
/** What is to be done about the rest is the business of the device and its control plane, and not of who has asked. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  MESH_CONFIG_INVALID: 'MESH_CONFIG_INVALID',
  // About the device's agent.yaml, and nobody's certificate.
  MESH_CONTROL_FORBIDDEN: 'MESH_COMMAND_FORBIDDEN',
}
function readAnswer(device: string, text: string): CommandAnswer {
  const answer = parseCommandAnswer(text)
  if (!answer) throw new MeshError('MESH_COMMAND_FAILED', `${device} answered what is no answer`)
  return answer
}
