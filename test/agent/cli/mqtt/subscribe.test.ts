import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MqttCommands } from './commands.ts'

async function retained(mqtt: MqttCommands, ...topics: readonly string[]): Promise<void> {
  for (const topic of topics) await mqtt.run('pub', ['-t', topic, '-m', `of ${topic}`, '-q', '1', '-r'])
}

test('many filters, some left out, until so many have come', async (t) => {
  const mqtt = await MqttCommands.start(t)
  await retained(mqtt, 'a/1', 'a/2', 'b/1')
  const said = await mqtt.run('sub', ['-t', 'a/+', '-t', 'b/+', '-T', 'a/2', '-C', '2', '-v', '-q', '1'])
  assert.deepEqual(said, { code: 0, out: 'a/1 of a/1\nb/1 of b/1\n', err: '' })
})

test('-E ends with the acknowledgement, -W with 27 and a word', async (t) => {
  const mqtt = await MqttCommands.start(t)
  assert.deepEqual(await mqtt.run('sub', ['-t', 'a', '-E']), { code: 0, out: '', err: '' })
  const late = await mqtt.run('sub', ['-t', 'a', '-W', '1'])
  assert.equal(late.code, 27)
  assert.match(late.err, /^meshlet: MESH_REQUEST_TIMEOUT: 1 s are over \(-W\)/)
})

test('--remove-retained ends once the broker has removed them', async (t) => {
  const mqtt = await MqttCommands.start(t)
  await retained(mqtt, 'a/1', 'a/2', 'keep')
  assert.equal((await mqtt.run('sub', ['-t', '#', '-T', 'keep', '--remove-retained', '-C', '2'])).code, 0)
  assert.equal((await mqtt.run('sub', ['-t', '#', '-C', '1', '-v'])).out, 'keep of keep\n')
  assert.equal(mqtt.agent.agent.metrics.total('mesh_mqtt_retained_messages'), 1)
})

test('--retained-only ends with the first message that is live, -R shows that alone', async (t) => {
  const mqtt = await MqttCommands.start(t)
  await retained(mqtt, 'a/1')
  const live = async (args: readonly string[]): Promise<string> => {
    const publish = () => mqtt.run('pub', ['-t', 'a/live', '-m', 'x', '-q', '1'])
    return (await mqtt.heard(['-t', 'a/#', '-v', ...args], publish)).out
  }
  assert.equal(await live(['--retained-only']), 'a/1 of a/1\n')
  assert.equal(await live(['-R', '-C', '1']), 'a/live x\n')
})

test('subscriptions that are all refused are a failure', async (t) => {
  const mqtt = await MqttCommands.start(t, 'mqtt: {rules: [{action: subscribe, topics: [ok], effect: allow}]}\n')
  const refused = await mqtt.run('sub', ['-t', 'secret'])
  assert.equal(refused.code, 1)
  assert.match(refused.err, /MESH_MQTT_UPSTREAM_REFUSED: the broker refused all subscriptions/)
  assert.equal((await mqtt.run('sub', ['-t', 'secret', '-t', 'ok', '-E'])).code, 0)
})

test('a request gets its response, one that nobody answers ends with 27', async (t) => {
  const mqtt = await MqttCommands.start(t)
  const asked = await mqtt.heard(['-V', '5', '-t', 'ask', '-C', '1', '-F', '%p %R'], async () => {
    await mqtt.run('pub', ['-t', 'reply', '-m', '42', '-r'])
    assert.deepEqual(await mqtt.run('rr', ['-t', 'ask', '-e', 'reply', '-m', 'how much', '-v']), {
      code: 0,
      out: 'reply 42\n',
      err: '',
    })
  })
  assert.equal(asked.out, 'how much reply\n')
  assert.equal((await mqtt.run('rr', ['-t', 'ask', '-e', 'other', '-n', '-W', '1'])).code, 27)
})
