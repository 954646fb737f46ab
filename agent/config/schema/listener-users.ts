/** Who may come in by a listener and what clients are offered, and what of it cannot be. */
import { findEngineSetting, type MqttListener, type MqttPolicy } from '../../../model/mqtt-policy.ts'
import { type MqttUsers, listUserMethods } from '../../../model/mqtt/users.ts'

type Settings = {
  readonly mode?: string
  readonly mqtt?: MqttListener | undefined
  readonly tls?:
    | { readonly mode: string; readonly clientRoots?: string | undefined; readonly clientCrl?: string | undefined }
    | undefined
}
type Problem = { readonly path: readonly string[]; readonly message: string }

/** @param listener with `mqtt`, what it says in place of those of all */
export function findListenerUserProblems(
  { mode, mqtt: its, tls }: Settings,
  { listener, users }: Pick<MqttPolicy, 'listener'> & { readonly users?: MqttUsers | undefined },
): readonly Problem[] {
  const settings: MqttListener = { ...listener, ...its }
  const { anonymous, authentication = [], certificateUser } = settings
  const methods = listUserMethods(users, settings)
  const missing = authentication.filter((method) => !methods.includes(method))
  const problems: Problem[] = missing.map((method) => ({
    path: ['authentication'],
    message: `\`${method}\` needs what proves it: ${NEEDS[method]}`,
  }))
  const engineSetting = mode === 'transparent' ? findEngineSetting(settings) : undefined
  if (engineSetting !== undefined)
    problems.push({ path: [engineSetting], message: 'goes with mode `engine`: the broker behind has the session' })
  if (certificateUser !== undefined && !users)
    problems.push({ path: ['certificateUser'], message: 'needs `mqtt.users`, which the node does not have' })
  const asksForCertificates = tls?.mode === 'mutual' || tls?.clientRoots !== undefined
  if (authentication.includes('certificate') && !asksForCertificates)
    problems.push({
      path: ['authentication'],
      message: '`certificate` needs a listener that asks clients for one: `tls` with mode `mutual` or `clientRoots`',
    })
  if (tls?.mode === 'psk' && !methods.includes('psk'))
    problems.push({ path: [], message: 'has `tls` of mode `psk`, which needs `mqtt.users.pskFile` and the way `psk`' })
  if (authentication.includes('psk') && tls?.mode !== 'psk')
    problems.push({ path: ['authentication'], message: '`psk` needs `tls` with mode `psk`' })
  if (methods.length === 0 && !(anonymous ?? !users))
    problems.push({
      path: [],
      message: 'lets nobody in: clients without a user are not taken, and no way to prove one is left',
    })
  return problems
}

const NEEDS = {
  password: '`mqtt.users.passwordFile`',
  'scram-sha-256': '`mqtt.users.passwordFile`',
  jwt: '`mqtt.users.jwt`',
  certificate: '`mqtt.users.certificateUser`, or that of the listener',
  psk: '`mqtt.users.pskFile`',
} as const
