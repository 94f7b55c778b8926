# Adds the layers of a Kiln image to this machine: the files below files\, and what layers.json says besides.
# Unpack the archive, run this as administrator, and restart the machine: services are read at its start.
#   powershell -ExecutionPolicy Bypass -File install.ps1 [-Check]
# With -Check it changes nothing and says what would keep it from its work.
#Requires -Version 5.1
#Requires -RunAsAdministrator
[CmdletBinding()]
param([switch]$Check)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

$set = Get-Content -Raw -Encoding UTF8 -LiteralPath (Join-Path $PSScriptRoot 'layers.json') | ConvertFrom-Json

# A file of the archive, and where it goes: layers name the system drive C:.
function Get-Source([string]$Path) {
    Join-Path (Join-Path $PSScriptRoot 'files') $Path.Substring(3)
}
function Get-Target([string]$Path) {
    Join-Path "$env:SystemDrive\" $Path.Substring(3)
}

# Everything that keeps the layers from working, before anything is changed.
function Get-Problem {
    $windows = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    if ($null -ne $set.build -and $windows.CurrentBuildNumber -ne "$($set.build)") {
        "this is Windows build $($windows.CurrentBuildNumber), and the layers are for $($set.build)"
    }
    elseif ($windows.UBR -lt $set.least_revision) {
        "this is revision $($windows.UBR), and the layers need $($set.least_revision): install a newer cumulative update"
    }
    foreach ($name in $set.features) {
        $feature = Get-WindowsOptionalFeature -Online -FeatureName $name
        if ($null -eq $feature -or "$($feature.State)" -ne 'Enabled') {
            "the feature $name is missing: Enable-WindowsOptionalFeature -Online -All -NoRestart -FeatureName $name"
        }
    }
    foreach ($file in $set.files) {
        $source = Get-Source $file.path
        if (-not (Test-Path -LiteralPath $source -PathType Leaf)) {
            "$source is missing: unpack the archive again"
        }
        elseif ((Get-FileHash -Algorithm SHA256 -LiteralPath $source).Hash -ne $file.sha256) {
            "$source is not the file of the image: unpack the archive again"
        }
    }
}

# The data of a value, in the type that the registry wants.
function Get-Data($Value) {
    switch ($Value.kind) {
        'DWord' { return [BitConverter]::ToInt32([BitConverter]::GetBytes([uint32]$Value.data), 0) }
        'QWord' { return [BitConverter]::ToInt64([BitConverter]::GetBytes([uint64]$Value.data), 0) }
        'Binary' { return , [byte[]]$Value.data }
        'MultiString' { return , [string[]]$Value.data }
        default { return [string]$Value.data }
    }
}

function Add-SearchPath([string[]]$Folders) {
    $name = 'SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($name, $true)
    try {
        $written = [string]$key.GetValue('Path', '', 'DoNotExpandEnvironmentNames')
        $entries = @($written.Split(';') | Where-Object { $_ })
        foreach ($folder in $Folders) {
            if ($entries -notcontains $folder) { $entries += $folder }
        }
        $key.SetValue('Path', ($entries -join ';'), 'ExpandString')
    }
    finally { $key.Dispose() }
}

$problems = @(Get-Problem)
if ($problems.Count -gt 0) {
    $problems | ForEach-Object { Write-Warning $_ }
    throw "nothing was changed: $($problems.Count) of the things above must be mended first"
}
if ($Check) {
    Write-Output "the layers of $($set.name) can be added to this machine"
    return
}

foreach ($folder in $set.folders) {
    $null = New-Item -ItemType Directory -Force -Path (Get-Target $folder)
}
foreach ($file in $set.files) {
    $target = Get-Target $file.path
    $null = New-Item -ItemType Directory -Force -Path (Split-Path -Parent $target)
    Copy-Item -Force -LiteralPath (Get-Source $file.path) -Destination $target
    # Files of an archive from the network are marked, and then Windows asks before it runs them.
    Unblock-File -LiteralPath $target
}
foreach ($link in $set.links) {
    $target = Get-Target $link.path
    $null = New-Item -ItemType Directory -Force -Path (Split-Path -Parent $target)
    $null = New-Item -ItemType SymbolicLink -Force -Path $target -Target $link.target
}
foreach ($value in $set.registry) {
    $kind = [Microsoft.Win32.RegistryValueKind]$value.kind
    [Microsoft.Win32.Registry]::SetValue($value.key, $value.name, (Get-Data $value), $kind)
}
Add-SearchPath @($set.path)
foreach ($driver in $set.drivers) {
    & "$env:SystemRoot\System32\pnputil.exe" /add-driver (Get-Target $driver) /install
    # 259: no device here needs it yet. 3010: it runs after a restart.
    if ($LASTEXITCODE -notin 0, 259, 3010) { throw "pnputil does not take ${driver}: exit code $LASTEXITCODE" }
}
Write-Output "the layers of $($set.name) are here; restart the machine, and its services start"
