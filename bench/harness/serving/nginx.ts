import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DataPlane, RunningProcess } from './data-plane.ts'
import { commandPath, spawnPinned, stop } from './pinned.ts'

export interface Nginx extends RunningProcess {
  port: number
  version: string
}

/** Where Debian puts it is not always in the PATH. */
const find = (): string | null => commandPath('nginx') ?? commandPath('/usr/sbin/nginx')

/**
 * Installs it where it is missing and may be.
 * @returns null: it isn't there, for the reason that was told
 */
export function nginxPath(note: (text: string) => void): string | null {
  const there = find()
  if (there !== null) return there
  if (process.getuid?.() !== 0 || commandPath('apt-get') === null) {
    note('skipped: nginx is not installed, and only root could install it from Debian')
    return null
  }
  try {
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', 'nginx-light'], { stdio: 'ignore' })
  } catch {
    note('skipped: nginx is not installed, and apt-get could not install nginx-light')
  }
  return find()
}

/**
 * One worker, no log, connections to the upstream kept: as cheap as it gets.
 * @param paths - each of them has connections of its own; none: all share theirs
 */
export async function startNginx(
  plane: DataPlane,
  path: string,
  cores: string,
  upstreamPort: number,
  paths: readonly string[] = [],
): Promise<Nginx> {
  const dir = join(plane.dir, 'nginx')
  mkdirSync(dir, { recursive: true })
  const port = await freePort()
  const file = join(dir, 'nginx.conf')
  writeFileSync(file, configOf(dir, port, upstreamPort, paths))
  const args = ['-p', dir, '-e', join(dir, 'error.log'), '-c', file]
  const child = spawnPinned(cores, path, args, { stdio: 'inherit' })
  await untilItListens(port)
  const version = /nginx\/(\S+)/.exec(versionText(path))?.[1] ?? 'unknown'
  return plane.keep({ port, version, pid: child.pid!, stop: () => stop(child) })
}

/** @param port - on which it takes requests, at 127.0.0.1 */
function configOf(dir: string, port: number, upstreamPort: number, paths: readonly string[]): string {
  const places = ['location /', ...paths.map((path) => `location = ${path}`)]
  return `daemon off;
master_process off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  keepalive_requests 1000000000;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
${places.map((_, i) => `  upstream model-${i} { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 1000000000; }`).join('\n')}
  server {
    listen 127.0.0.1:${port};
${places.map((place, i) => `    ${place} { proxy_pass http://model-${i}; }`).join('\n')}
  }
}
`
}

function versionText(path: string): string {
  return execFileSync('sh', ['-c', `"${path}" -v 2>&1`], { encoding: 'utf8' })
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const LISTENS_WITHIN_MS = 10_000

/** @throws Error when it doesn't in time */
export async function untilItListens(port: number, withinMs = LISTENS_WITHIN_MS): Promise<void> {
  const giveUpAtMs = performance.now() + withinMs
  while (!(await answers(port))) {
    if (performance.now() > giveUpAtMs) throw new Error(`nobody listened on port ${port} within ${withinMs} ms`)
    await sleep(50)
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
