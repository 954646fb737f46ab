/** A command line on a machine without a browser, whose user confirms at the issuer elsewhere (RFC 8628). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { logInByDevice } from '../../../../hub/cli/console/device-login.ts'
import type { HubClient } from '../../../../hub/cli/console/client.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { issuerRig, remoteRig } from '../remote-rig.ts'

test('who confirms in a browser elsewhere has a session here, and nobody else', async (t) => {
  const { rig, provider } = await issuerRig(t)
  provider.offerDevices()
  provider.deviceAnswers = ['authorization_pending', undefined]
  const { code, out, err } = await rig.machine.run(['login', '--device-code', '--hub', rig.url])
  assert.equal(code, 0, err)
  assert.match(err, /^open in a browser, on any machine: https:\S+\/activate\nand enter there: WDJB-MJHT\n/)
  assert.match(err, /or open https:\S+\?code=WDJB-MJHT, and confirm only if it shows WDJB-MJHT\n$/)
  assert.match(out, /^logged in to http:\S+ as oidc:u1, operator of all namespaces, until 20/)
  assert.equal((await rig.remote('devices')).code, 0)
  const [session] = await rig.hub.registry.sessions.all()
  assert.deepEqual([session!.via, session!.operator, session!.claims], ['cli', 'oidc:u1', ['ops']])
  const asked = provider.asked.find(({ path: at }) => at === '/device')!
  assert.deepEqual([asked.form.get('client_id'), asked.form.get('scope')], ['hub', 'openid profile'])
  assert.doesNotMatch(JSON.stringify(rig.lines), /device-0/, 'what redeems it is in no log')
})

test('a machine without a display asks for a browser where the issuer has no such login', async (t) => {
  const { rig } = await issuerRig(t)
  const login = ['login', '--oidc', '--hub', rig.url]
  let browsers = 0
  const withoutDisplay = {
    hasBrowser: false,
    err: (text: string) => {
      const [, port, path] = /port=(\d+)&challenge=(\S+)/.exec(text) ?? []
      if (port === undefined) return
      browsers++
      void fetch(`http://127.0.0.1:${port}/${path}?refused=enough`)
    },
  }
  await rig.machine.run(login, withoutDisplay)
  assert.equal(browsers, 1, 'the issuer has none')
  const { code, err } = await rig.machine.run(['login', '--device-code', '--hub', rig.url])
  assert.equal(code, 2)
  assert.match(err, /MESH_CONFIG_INVALID: the issuer names no device_authorization_endpoint .*log in by a link/)
})

test('an issuer that offers it is asked where there is no display', async (t) => {
  const { rig, provider } = await issuerRig(t)
  provider.offerDevices()
  provider.deviceAnswers = [undefined]
  const { code, err } = await rig.machine.run(['login', '--oidc', '--hub', rig.url], { hasBrowser: false })
  assert.equal(code, 0, err)
  const none = await remoteRig(t)
  const refused = await none.machine.run(['login', '--device-code', '--hub', none.url])
  assert.match(refused.err, /has no issuer \(console\.oidc\)/)
})

test('nobody gets in who is refused, has no role, brings a flow of their own, or answers wrongly', async (t) => {
  const { rig, provider } = await issuerRig(t)
  provider.offerDevices()
  const begin = () => rig.ask({ method: 'POST', path: '/api/v1/login/device' })
  const finish = async (flow: unknown): Promise<string> => {
    const { status, body } = await rig.ask({ method: 'POST', path: '/api/v1/login/device/session', body: { flow } })
    return `${status} ${String(body['code'])}`
  }
  const attempt = async (answer: string | undefined, claims: Record<string, unknown> = {}): Promise<string> => {
    provider.deviceAnswers = [answer]
    provider.claims = claims
    return finish((await begin()).body['flow'])
  }
  assert.equal(await attempt('access_denied'), '502 MESH_CONSOLE_OIDC')
  assert.equal(await attempt('expired_token'), '502 MESH_CONSOLE_OIDC')
  assert.equal(await attempt(undefined, { groups: ['others'] }), '403 MESH_CONSOLE_FORBIDDEN')
  assert.equal(await attempt(undefined, { aud: 'other' }), '502 MESH_CONSOLE_OIDC')
  assert.equal(await finish('x'.repeat(80)), '401 MESH_CONSOLE_LOGIN')
  assert.equal(
    await finish(Buffer.from('{"deviceCode":"device-0","endsMs":9e15}').toString('base64url')),
    '401 MESH_CONSOLE_LOGIN',
  )
  const { flow } = (await begin()).body as { flow: string }
  assert.doesNotMatch(Buffer.from(flow, 'base64url').toString('latin1'), /device-/, 'sealed')
  assert.deepEqual(await rig.hub.registry.sessions.all(), [])
  for (const bad of [
    { verification_uri: 'javascript:alert(1)' },
    { expires_in: 'x' },
    { user_code: 'x'.repeat(999) },
  ]) {
    const whole = { device_code: 'd', user_code: 'u', verification_uri: 'https://x', expires_in: 9, ...bad }
    provider.failure = { status: 200, body: JSON.stringify(whole) }
    assert.deepEqual((await begin()).body['code'], 'MESH_CONSOLE_OIDC', JSON.stringify(bad))
  }
})

test('the issuer is asked as seldom as it says, more seldom when it says so, and not after the end', async () => {
  const clock = new SimClock()
  const askedAtSec: number[] = []
  const startMs = clock.monotonicMs()
  const answers: unknown[] = [
    { waits: 'authorization_pending' },
    { waits: 'slow_down' },
    new MeshError('MESH_HUB_UNREACHABLE', 'away'),
    { waits: 'authorization_pending' },
  ]
  const begun = { flow: 'f', userCode: 'A\u001b[2J', verificationUri: 'https://x', expiresSec: 60, intervalSec: 5 }
  const ask = async ({ path }: { path: string }): Promise<unknown> => {
    if (path === 'login/device') return begun
    askedAtSec.push((clock.monotonicMs() - startMs) / 1_000)
    const answer = answers.shift() ?? { waits: 'authorization_pending' }
    if (answer instanceof Error) throw answer
    return answer
  }
  const said: string[] = []
  const io = { err: (text: string) => void said.push(text) }
  const login = logInByDevice({ client: { ask } as unknown as HubClient, clock, io })
  const refused = assert.rejects(login, { code: 'MESH_HUB_SESSION', message: /in time/ })
  await clock.advance(120_000)
  await refused
  assert.deepEqual(askedAtSec, [5, 10, 20, 35, 50])
  assert.ok(!said.join('').includes('\u001b'), 'what an issuer says does not drive the terminal')
})
