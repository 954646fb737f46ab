import { test } from 'node:test'
import assert from 'node:assert/strict'
import { meshlet, says, type Said } from '../../../scenarios/cli.ts'
import { MqttCommands } from './commands.ts'

test('clients, sessions, queues and retained messages of the running agent; kick and purge', async (t) => {
  const mqtt = await MqttCommands.start(t)
  const ask = (...argv: readonly string[]): Promise<Said> =>
    meshlet(['mqtt', ...argv, '--admin', `127.0.0.1:${mqtt.agent.agent.adminPort}`])
  await mqtt.run('sub', ['-c', '-i', 'kept', '-q', '1', '-t', 'a/#', '-E'])
  await mqtt.run('pub', ['-i', 'p', '-q', '1', '-r', '-t', 'a/b', '-m', 'x'])

  const sessions = await ask('sessions', '--json')
  assert.equal(sessions.code, 0)
  const { items } = JSON.parse(sessions.out) as { items: { clientId: string; queued: { messages: number } }[] }
  assert.deepEqual(
    items.map(({ clientId, queued }) => [clientId, queued.messages]),
    [['kept', 1]],
  )
  assert.match((await ask('sessions', '--id', 'kept')).out, /"filter":"a\/#"/)
  assert.equal((await ask('clients')).out, '0 of 0\n')
  assert.match((await ask('queues', '--prefix', 'session/')).out, /session\/kept +1 +\d+ +0 +-\n1 of 1\n/)
  assert.match((await ask('retained', '-t', 'a/+', '--payload')).out, /a\/b +1 +1 +- +eA==/)

  assert.deepEqual(await ask('kick', 'kept'), { code: 1, out: '', err: 'meshlet: no client kept is connected\n' })
  assert.equal((await ask('purge', '--queue', 'session/kept')).out, 'deleted 1 messages from session/kept\n')
  assert.equal((await ask('purge', '--session', 'kept')).out, 'ended session kept\n')
  assert.equal((await ask('purge', '--retained', '#')).out, 'deleted 1 retained messages\n')
  assert.equal((await ask('purge', '--retained', 'a#')).code, 2)
  says(await ask('purge'), { exit: 2, code: 'MESH_CONFIG_INVALID', what: /one of --session/, remedy: /Correct/ })
  assert.equal((await ask('clients', '--limit', '0')).code, 2)
})

test('a client that is connected is kicked, and pages of other origins kick nobody', async (t) => {
  const mqtt = await MqttCommands.start(t)
  const admin = mqtt.agent.agent.adminPort
  const heard = await mqtt.heard(['-t', 'a', '-C', '1'], async () => {
    const foreign = await fetch(`http://127.0.0.1:${admin}/mqtt/kick?id=hears`, {
      method: 'POST',
      headers: { origin: 'https://evil.example' },
    })
    assert.equal(foreign.status, 403)
    assert.equal((await fetch(`http://127.0.0.1:${admin}/mqtt/kick?id=hears`)).status, 405)
    const said = await meshlet(['mqtt', 'kick', 'hears', '--admin', `127.0.0.1:${admin}`])
    assert.deepEqual(said, { code: 0, out: 'disconnected hears\n', err: '' })
    // It comes back by itself, as mosquitto_sub does.
    await mqtt.run('pub', ['-t', 'a', '-m', 'again', '-q', '1', '-r'])
  })
  assert.deepEqual([heard.code, heard.out], [0, 'again\n'])
  assert.equal(mqtt.agent.agent.metrics.total('mesh_mqtt_disconnects_total', { reason: 'kicked' }), 1)
})
