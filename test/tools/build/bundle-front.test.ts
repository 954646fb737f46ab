/** The lines in front of every bundle, with a small program behind them. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { transform } from 'esbuild'
import fs from 'node:fs'
import path from 'node:path'
import { assemble } from '../../../tools/build/assemble.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const ADDON = Buffer.from('native code')
const isRoot = process.getuid?.() === 0 ? {} : { skip: 'needs root, to be somebody else' }
const NOBODY = 65_534

/** What was found beside the bundle; what comes later is asked for when a line comes. */
const PROGRAM = `
const { script, programSha256, addonBeside, encodedAddon, thread } = meshletBundle
const seen = { compiled: script.cachedDataRejected === false, addon: addonBeside !== undefined }
if (process.argv[2] === 'precompile') require('node:fs').writeFileSync(__filename + '.compiled', COMPILED, { mode: 0o644 })
console.log(JSON.stringify(seen))
function late() { return \`in lines
// and more\` }
if (process.argv[3] === 'wait') process.stdin.once('data', () => { console.log(late(), thread, encodedAddon.length); process.stdin.pause() })
`
/** As agent/cli/precompile.ts writes it. */
const COMPILED = `((code) => Buffer.concat([Buffer.from(programSha256, 'hex'), Buffer.from(Uint32Array.of(require('node:zlib').crc32(code)).buffer), code]))(script.createCachedData())`
const textWith = (program: string): string =>
  assemble({
    addon: ADDON,
    version: '1.0.0',
    builtAt: '2026-01-01T00:00:00Z',
    program: program.replace('COMPILED', COMPILED),
    thread: 'thread',
  })
const text = textWith(PROGRAM)

function bundleIn(t: TestContext): string {
  const folder = temporaryFolder(t)
  fs.chmodSync(folder, 0o755)
  const file = path.join(folder, 'meshlet.cjs')
  fs.writeFileSync(file, text, { mode: 0o755 })
  return file
}
type Seen = { readonly compiled: boolean; readonly addon: boolean }
function seen(file: string, uid?: number): Seen {
  const { stdout, stderr } = spawnSync(process.execPath, [file, 'run'], {
    encoding: 'utf8',
    cwd: '/',
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  assert.equal(stderr, '')
  return JSON.parse(stdout) as Seen
}
/** As an installation leaves it. */
function precompiled(t: TestContext): string {
  const file = bundleIn(t)
  assert.equal(spawnSync(process.execPath, [file, 'precompile']).status, 0)
  fs.writeFileSync(`${file}.sqlite.node`, ADDON, { mode: 0o644 })
  return file
}

test('a Node that is too old says so in one sentence and ends with 2', (t) => {
  const file = bundleIn(t)
  const older = path.join(path.dirname(file), 'older.cjs')
  fs.writeFileSync(
    older,
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } })',
  )
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-r', older, file, 'run'], { encoding: 'utf8' })
  assert.deepEqual([status, stdout], [2, ''])
  assert.equal(stderr, `meshlet needs Node 26 or newer, and ${process.execPath} is Node 20.20.2.\n`)
})
test('a really old Node can read that far', async () => {
  // Whatever is younger than ECMAScript 5 has to be transformed, and esbuild says what it cannot transform.
  const code = text.replace(/^#!.*\n/, '').replace(/^\/\/.*\n/gm, '')
  const { code: same } = await transform(code, { target: 'es5', minifyWhitespace: true })
  const { code: all } = await transform(code, { target: 'esnext', minifyWhitespace: true })
  assert.equal(same, all)
})

test('what root made beside the bundle is used, whoever runs it', isRoot, (t) => {
  const file = precompiled(t)
  assert.deepEqual(seen(file), { compiled: true, addon: true })
  assert.deepEqual(seen(file, NOBODY), { compiled: true, addon: true })
})
test('code that the agent could have written is not used', isRoot, async (t) => {
  const cases: readonly [string, (file: string, beside: readonly string[]) => void][] = [
    [
      'it belongs to the agent',
      (_file, beside) => {
        for (const b of beside) fs.chownSync(b, NOBODY, NOBODY)
      },
    ],
    [
      'so does the bundle',
      (file, beside) => {
        for (const b of [file, ...beside]) fs.chownSync(b, NOBODY, NOBODY)
      },
    ],
    [
      'all may write there',
      (_file, beside) => {
        for (const b of beside) fs.chmodSync(b, 0o666)
      },
    ],
    [
      'a group may',
      (_file, beside) => {
        for (const b of beside) fs.chmodSync(b, 0o664)
      },
    ],
    [
      'it is a link to somewhere',
      (_file, beside) => {
        for (const b of beside) {
          fs.renameSync(b, `${b}.real`)
          fs.symlinkSync(`${b}.real`, b)
        }
      },
    ],
  ]
  for (const [what, change] of cases) {
    await t.test(what, (each) => {
      const file = precompiled(each)
      change(
        file,
        ['.compiled', '.sqlite.node'].map((suffix) => file + suffix),
      )
      assert.deepEqual(seen(file, NOBODY), { compiled: false, addon: false })
    })
  }
})
test('what was compiled of another version, or is damaged, is not used', isRoot, (t) => {
  const file = precompiled(t)
  const compiled = fs.readFileSync(`${file}.compiled`)
  for (const at of [5, 33, 40, compiled.length - 1]) {
    const damaged = Buffer.from(compiled)
    damaged[at]! ^= 1
    fs.writeFileSync(`${file}.compiled`, damaged)
    assert.equal(seen(file).compiled, false, `byte ${at}`)
  }
  fs.writeFileSync(`${file}.compiled`, compiled)
  assert.equal(seen(file).compiled, true)
  fs.writeFileSync(file, textWith(`${PROGRAM}// newer`))
  assert.equal(seen(file).compiled, false)
})
test('code in the state folder, as earlier versions kept it, is not looked at', (t) => {
  const file = precompiled(t)
  const folder = path.dirname(file)
  fs.mkdirSync(path.join(folder, 'state'))
  for (const [from, to] of [
    ['.compiled', 'compiled.bin'],
    ['.sqlite.node', 'meshlet.cjs.sqlite.node'],
  ])
    fs.renameSync(`${file}${from}`, path.join(folder, 'state', to!))
  fs.writeFileSync(path.join(folder, 'agent.yaml'), `state: ${folder}/state\n`)
  const { stdout } = spawnSync(process.execPath, [file, 'run', '--config', path.join(folder, 'agent.yaml')], {
    encoding: 'utf8',
  })
  assert.deepEqual(JSON.parse(stdout), { compiled: false, addon: false })
})

for (const [how, replace] of [
  [
    'by another file',
    (file: string) => {
      fs.writeFileSync(`${file}.new`, 'throw new Error("replaced")')
      fs.renameSync(`${file}.new`, file)
    },
  ],
  [
    'in place',
    (file: string) => {
      fs.writeFileSync(file, 'throw new Error("replaced")')
    },
  ],
] as const) {
  test(`a bundle that is replaced ${how} under a running program has what that program loads later`, async (t) => {
    const file = bundleIn(t)
    const child = spawn(process.execPath, [file, 'run', 'wait'], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => {
      child.kill('SIGKILL')
    })
    let out = ''
    child.stdout.on('data', (d) => {
      out += String(d)
    })
    await once(child.stdout, 'data')
    replace(file)
    child.stdin.write('\n')
    child.stdin.end()
    await once(child, 'close')
    assert.match(out, /\nin lines\n\/\/ and more thread \d+\n$/)
  })
}

test('a program with a character of two bytes is not built: every part before it would be read from the wrong place', () => {
  const parts = { addon: Buffer.from('x'), thread: '', version: '1', builtAt: '2026-01-01T00:00:00Z' }
  assert.throws(() => assemble({ ...parts, program: 'const PART = /(ns|\u00b5s)/' }), /not ASCII at .*ns\|\u00b5/)
})
