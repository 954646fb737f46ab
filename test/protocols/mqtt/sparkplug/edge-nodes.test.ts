import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EdgeNodes, MAX_NODES } from '../../../../protocols/mqtt/sparkplug/edge-nodes.ts'
import { parseTopic } from '../../../../protocols/mqtt/sparkplug/topic.ts'
import { compress, sparkplugPayload } from '../../../helpers/mqtt/sparkplug.ts'

type Carried = { readonly filters: readonly string[]; readonly maxInflatedBytes: number }
const maxInflatedBytes = 1_000
const ALL: Carried = { filters: ['spBv1.0/#'], maxInflatedBytes }
const nodes = () => new EdgeNodes<Carried>()
/** `type node/device seq`, with a `z` behind what is compressed */
function observe(of: EdgeNodes<Carried>, what: string, carried = ALL): string {
  const [type, name, seq] = what.split(' ')
  const plain = sparkplugPayload(seq === '-' || seq === 'x' ? undefined : Number(seq?.replace(/z$/, '')))
  const payload = seq === 'x' ? Buffer.from('x') : seq?.endsWith('z') ? compress(plain, 'GZIP') : plain
  return of.observe(parseTopic(`spBv1.0/g/${type}/${name}`)!, payload, carried)
}
const all = (of: EdgeNodes<Carried>, ...what: string[]): string[] => what.map((one) => observe(of, one))

test('numbers follow each other, over births of devices and the wrap at 255', () => {
  assert.deepEqual(
    all(nodes(), 'NBIRTH a 0', 'DBIRTH a/d 1', 'NDATA a 2', 'DDATA a/d 3', 'DDEATH a/d 4'),
    Array(5).fill('next'),
  )
  assert.deepEqual(all(nodes(), 'NDATA a 254', 'NDATA a 255', 'NDATA a 0'), Array(3).fill('next'))
})
test('a number that is missing is told once', () => {
  assert.deepEqual(all(nodes(), 'NBIRTH a 0', 'NDATA a 2', 'NDATA a 3'), ['next', 'gap', 'next'])
})
test('nodes count by themselves, commands not at all', () => {
  assert.deepEqual(all(nodes(), 'NBIRTH a 0', 'NBIRTH b 0', 'NCMD a 9', 'DCMD a/d 9', 'NDATA b 1', 'NDATA a 1'), [
    ...Array(6).fill('next'),
  ])
})
test('a birth begins anew, a death ends, a repetition is none', () => {
  assert.deepEqual(all(nodes(), 'NDATA a 7', 'NBIRTH a 0', 'NDATA a 1', 'NDATA a 1', 'NDATA a 2'), [
    ...Array(5).fill('next'),
  ])
  const of = nodes()
  assert.deepEqual(all(of, 'NDATA a 7', 'NDEATH a -'), ['next', 'next'])
  assert.equal(of.size, 0)
  assert.deepEqual(all(of, 'NDATA a 1', 'NDATA a -', 'NDATA a 2'), ['next', 'next', 'next'])
})
test('what cannot be read is told, and what follows is no gap', () => {
  assert.deepEqual(all(nodes(), 'NBIRTH a 0', 'NDATA a x', 'NDATA a 5', 'NDATA a 6'), [
    'next',
    'unreadable',
    'next',
    'next',
  ])
})
test('numbers in compressed payloads count; of one that is too large what follows is no gap', () => {
  assert.deepEqual(all(nodes(), 'NBIRTH a 0z', 'NDATA a 1z', 'NDATA a 2', 'NDATA a 4z'), [
    'next',
    'next',
    'next',
    'gap',
  ])
  const of = nodes()
  observe(of, 'NDATA a 1z')
  const large = compress(sparkplugPayload(2, { name: 'x'.repeat(2_000), value: 1 }), 'DEFLATE')
  assert.equal(of.observe(parseTopic('spBv1.0/g/NDATA/a')!, large, ALL), 'too-large')
  assert.equal(observe(of, 'NDATA a 3'), 'next')
})
test('where only some of the messages of a node go this way, missing numbers say nothing', () => {
  for (const filters of [['spBv1.0/+/DDATA/#'], ['spBv1.0/g/+/a'], ['spBv1.0/+/NBIRTH/+', 'spBv1.0/+/NDATA/+']]) {
    const of = nodes()
    assert.equal(observe(of, 'NDATA a 1', { filters, maxInflatedBytes }), 'next')
    assert.equal(observe(of, 'NDATA a 9', { filters, maxInflatedBytes }), 'next', filters.join())
  }
  const six = {
    filters: ['NBIRTH/+', 'NDATA/+', 'DBIRTH/#', 'DDATA/#', 'DDEATH/+/+'].map((f) => `spBv1.0/+/${f}`),
    maxInflatedBytes,
  }
  const of = nodes()
  observe(of, 'NDATA a 1', six)
  assert.equal(observe(of, 'NDATA a 9', six), 'gap')
})
test('no more nodes are remembered than may be, and no endless names', () => {
  const of = nodes()
  for (let i = 0; i < MAX_NODES; i++) observe(of, `NDATA n${i} 1`)
  observe(of, 'NDATA n0 2')
  observe(of, 'NDATA other 1')
  assert.deepEqual([of.size, of.forgotten], [MAX_NODES, 1])
  const names = [...of.of(() => true)].map(({ node }) => node)
  assert.ok(names.includes('g/n0') && !names.includes('g/n1'), 'the one that was heard longest ago goes')
  observe(of, `NDATA ${'x'.repeat(2_000)} 1`)
  assert.deepEqual([of.size, of.forgotten], [MAX_NODES, 2])
})
