import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { MqttCommands } from './commands.ts'

/** What waits in a kept session of `reader`. */
async function waiting(mqtt: MqttCommands, count: number): Promise<string> {
  const { out } = await mqtt.run('sub', [
    '-c',
    '-i',
    'reader',
    '-q',
    '2',
    '-t',
    'p',
    '-C',
    String(count),
    '-F',
    '%q %p',
  ])
  return out
}
async function reader(t: Parameters<typeof MqttCommands.start>[0]): Promise<MqttCommands> {
  const mqtt = await MqttCommands.start(t)
  assert.equal((await mqtt.run('sub', ['-c', '-i', 'reader', '-q', '2', '-t', 'p', '-E'])).code, 0)
  return mqtt
}

test('text, nothing, a file, all of standard input, and its lines', async (t) => {
  const mqtt = await reader(t)
  const file = path.join(temporaryFolder(t), 'message')
  fs.writeFileSync(file, 'of a file')
  for (const [args, input] of [
    [['-m', 'text']],
    [['-n']],
    [['-f', file]],
    [['-s'], 'all\nof it'],
    [['-l'], 'one\n\nthree'],
    [['-m', 'twice', '--repeat', '2', '--repeat-delay', '0.001']],
  ] as const) {
    const said = await mqtt.run('pub', ['-t', 'p', '-q', '1', ...args], input === undefined ? {} : { input })
    assert.deepEqual(said, { code: 0, out: '', err: '' })
  }
  assert.equal(await waiting(mqtt, 9), '1 text\n1 \n1 of a file\n1 all\nof it\n1 one\n1 \n1 three\n1 twice\n1 twice\n')
})

test('a thousand lines come in order, with at most one on its way too', async (t) => {
  const mqtt = await reader(t)
  const lines = Array.from({ length: 500 }, (_, i) => String(i))
  for (const window of ['1', '20'])
    await mqtt.run('pub', ['-t', 'p', '-q', '2', '-l', '-M', window], { input: `${lines.join('\n')}\n` })
  assert.equal(await waiting(mqtt, 1000), [...lines, ...lines].map((line) => `2 ${line}\n`).join(''))
})

test('a message that the broker refuses is a failure', async (t) => {
  const mqtt = await MqttCommands.start(t, 'mqtt: {rules: [{action: publish, topics: [other], effect: allow}]}\n')
  const refused = await mqtt.run('pub', ['-V', '5', '-t', 'p', '-m', 'x', '-q', '1'])
  assert.equal(refused.code, 1)
  assert.match(refused.err, /MESH_MQTT_UPSTREAM_REFUSED: the broker refused a message: .*[Nn]ot authorized/)
  const quiet = await mqtt.run('pub', ['-V', '5', '-t', 'p', '-m', 'x', '-q', '1', '--quiet'])
  assert.deepEqual(quiet, { code: 1, out: '', err: '' })
})
