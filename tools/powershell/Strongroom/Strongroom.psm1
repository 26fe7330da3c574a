# Strongroom for PowerShell: parameters become REST calls, answers become objects; nothing is decided here.
#
# House style (checked by tests/unit/test_powershell.py): one function a file; paths are literal templates
# as in the OpenAPI document; every call goes through Invoke-SRRequest or Get-SRPage.

Set-StrictMode -Version 3.0

# The one connection of this session: Client (HttpClient), BaseUri, Token (SecureString), User.
$script:Connection = $null

foreach ($folder in 'Private', 'Public') {
    foreach ($file in Get-ChildItem -Path (Join-Path $PSScriptRoot $folder) -Filter '*.ps1') {
        . $file.FullName
    }
}

$ExecutionContext.SessionState.Module.OnRemove = {
    if ($null -ne $script:Connection) {
        $script:Connection.Client.Dispose()
    }
}
